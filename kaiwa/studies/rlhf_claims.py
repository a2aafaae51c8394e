"""InstructGPT's claims as comparisons of arms, each with its verdict.

A claim is a difference with an interval and the side where the interval must lie: wholly on the side, the claim is
replicated; wholly on the other, not replicated; otherwise "cannot tell".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kaiwa.stats.intervals import Interval, bootstrap
from kaiwa.stats.paired import win_rate
from kaiwa.studies.rlhf import Results

REPLICATED, NOT, CANNOT_TELL = "replicated", "not replicated", "cannot tell"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A figure, named by `what`, which the claim says lies above `neutral`."""

    what: str
    interval: Interval
    neutral: float = 0.0

    def verdict(self) -> str:
        if self.interval.low > self.neutral:
            return REPLICATED
        return NOT if self.interval.high < self.neutral else CANNOT_TELL

    def to_json(self) -> dict[str, Any]:
        return {"what": self.what, "neutral": self.neutral, **self.interval.to_json()}


@dataclass(frozen=True, slots=True)
class PaperClaim:
    """`name` finds its words in the page's dictionary."""

    name: str
    text: str
    source: str
    evidence: Callable[[Results], list[Evidence]]


def verdict(evidence: list[Evidence]) -> str:
    """Return the verdict on several figures: all must agree; a single refuted figure refutes the claim."""
    verdicts = {one.verdict() for one in evidence}
    if verdicts == {REPLICATED}:
        return REPLICATED
    return NOT if NOT in verdicts else CANNOT_TELL


def wins(arm: str, against: str, least: float = 0.5) -> Callable[[Results], list[Evidence]]:
    return lambda r: [Evidence(f"win rate of {arm} over {against}", r.wins(arm, against), least)]


def tax(arm: str, less: str) -> Callable[[Results], list[Evidence]]:
    """Compare on text like the training text of ptx, and on facts from pretraining, which ptx does not ask for."""
    return lambda r: [
        Evidence(f"bits per byte, {arm} less {less}", r.difference("bits", arm, less)),
        Evidence(f"cloze questions right, {less} less {arm}", r.difference("cloze", less, arm)),
    ]


def penalty_protects(r: Results) -> list[Evidence]:
    """Test that without the KL penalty the proxy rises, and that the gold judge prefers the penalised policy."""
    free, penalised = r.pool("ppo_beta_0", "proxy"), r.pool("ppo_beta_small", "proxy")
    gain = bootstrap([a - b for a, b in zip(free, penalised, strict=True)], r.clusters())
    return [
        Evidence("proxy of ppo_beta_0 less ppo_beta_small", gain),
        Evidence("win rate of ppo_beta_small over ppo_beta_0", r.wins("ppo_beta_small", "ppo_beta_0"), 0.5),
    ]


def over_fits(r: Results) -> list[Evidence]:
    """Return the held-out loss after the last epoch less the loss after the first, one difference per seed."""
    rises = [seed.epochs[-1]["epoch_validation_loss"] - seed.epochs[0]["epoch_validation_loss"] for seed in r.seeds]
    return [Evidence("held-out loss, last epoch less first", bootstrap(rises))]


def more_comparisons(r: Results) -> list[Evidence]:
    few, all_ = min(r.seeds[0].accuracy), max(r.seeds[0].accuracy)
    gains = [a - b for seed in r.seeds for a, b in zip(seed.accuracy[all_], seed.accuracy[few], strict=True)]
    prompts = [i for seed in r.seeds for i in range(len(seed.accuracy[all_]))]
    return [Evidence(f"accuracy with all comparisons less with {few:g} of them", bootstrap(gains, prompts))]


def over_optimised(r: Results) -> list[Evidence]:
    """Test that after the run's best update the proxy rises while the judge likes the replies less.

    The best update is chosen on the prompts about half of the people (most wins against the start), the changes are
    measured on the others: an update that was lucky on the prompts of the choice would look like a fall.
    """
    names = sorted(set(r.people))
    choosing = {name for i, name in enumerate(names) if i % 2}
    chosen = [i for i, name in enumerate(r.people) if name in choosing]
    others = [i for i, name in enumerate(r.people) if name not in choosing]
    start, *_, last = steps = sorted(r.seeds[0].hacked)

    def at(step: int, what: str, which: list[int]) -> list[float]:
        return [getattr(seed.hacked[step], what)[i] for seed in r.seeds for i in which]

    def wins(step: int) -> float:
        share = win_rate(at(step, "utility", chosen), at(start, "utility", chosen)).decided.mean
        return share if share == share else 0.5  # no pair decided: the start against itself

    peak = max(steps[:-1], key=wins)
    people = [r.people[i] for _ in r.seeds for i in others]
    rise = [b - a for a, b in zip(at(peak, "proxy", others), at(last, "proxy", others), strict=True)]
    liked = win_rate(at(peak, "utility", others), at(last, "utility", others), people).decided
    return [
        Evidence(f"rise of the proxy from update {peak} to {last}", bootstrap(rise, people)),
        Evidence(f"win rate of update {peak} over {last}", liked, 0.5),
    ]


CLAIMS = (
    PaperClaim("small_beats_large", "A small aligned model is preferred to a base many times its size",
          "InstructGPT, section 1 and figure 1", wins("ppo_ptx_tuned", "large")),
    PaperClaim("small_beats_prompted", "… also when the large one is shown examples", "InstructGPT, figure 1",
          wins("ppo_ptx_tuned", "large_few_shot")),
    PaperClaim("prompting_helps", "A well-chosen few-shot prefix makes the base better", "InstructGPT, figure 1",
          wins("base_few_shot", "base")),
    PaperClaim("sft_beats_base", "SFT is preferred to the base it was tuned from", "InstructGPT, figure 1",
          wins("sft", "base")),
    PaperClaim("rl_beats_sft", "PPO-ptx is preferred to its SFT start", "InstructGPT, section 4.1",
          wins("ppo_ptx_tuned", "sft")),
    PaperClaim("ppo_tax", "PPO without pretraining gradients costs capability", "InstructGPT, section 4.2 and table 14",
          tax("ppo_beta_small", "sft")),
    PaperClaim("ptx_repairs", "Pretraining gradients repair the cost", "InstructGPT, section 4.2",
          tax("ppo_beta_small", "ppo_ptx_tuned")),
    PaperClaim("beta_does_not", "A larger KL penalty does not: its cost stays above PPO-ptx's",
          "InstructGPT, appendix E.6", tax("ppo_beta_large", "ppo_ptx_tuned")),
    PaperClaim("ptx_keeps_wins", "PPO-ptx is preferred about as often as PPO: not 10 points less",
          "InstructGPT, section 4.1",
          wins("ppo_ptx_tuned", "ppo_beta_small", 0.4)),
    PaperClaim("penalty_protects", "Without the KL penalty the proxy rises further and people are less pleased",
          "InstructGPT, section 3.5; Stiennon et al. (2020)", penalty_protects),
    PaperClaim("reward_overfits", "The reward model over-fits after one epoch", "InstructGPT, appendix C.2", over_fits),
    PaperClaim("more_comparisons", "More comparisons make a better reward model", "Stiennon et al. (2020)",
          more_comparisons),
    PaperClaim("over_optimised", "Against a flawed reward model the proxy rises while people are less pleased",
          "Stiennon et al. (2020); Gao et al. (2022)", over_optimised),
)  # fmt: skip


def judge_claims(results: Results) -> list[dict[str, Any]]:
    """Judge all claims; return rows in study.json's shape, with the claim's name."""
    rows = []
    for claim in CLAIMS:
        evidence = claim.evidence(results)
        rows.append(
            {
                "claim": claim.text,
                "source": claim.source,
                "verdict": verdict(evidence),
                "figures": [one.to_json() for one in evidence],
                "name": claim.name,
            }
        )
    return rows
