"""Labellers: simulated people who rank answers by hidden rules, with individual leanings and with noise.

A labeller's utility u is the sum of the judge's three scores, weighted by the labeller's leanings. The ranking is by
u + s·G with standard Gumbel noise G. This is the Plackett-Luce model: each pair follows Bradley-Terry, P(i before j) =
σ((u_i - u_j) / s), and rankings are transitive. Answers whose utilities differ by less than TIE share noise and rank.
NOISE is set so that two labellers agree on about 73 % of the pairs that neither ties, as InstructGPT's labellers did
(Ouyang et al. 2022, 3.4).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from kaiwa.core.errors import UserError
from kaiwa.core.rng import python_rng
from kaiwa.text.records import Comparison
from kaiwa.world.demonstrations import MIXED, DemonstrationRates, write_answer
from kaiwa.world.judge import Verdict, judge
from kaiwa.world.prompts import VillagePrompt, write_prompts
from kaiwa.world.village import Village

NOISE = 0.50
TIE = 0.1
MOST_COMPLETIONS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Labeller:
    name: str
    leanings: tuple[float, float, float] = (1.0, 1.0, 1.0)  # helpful, truthful, harmless
    noise: float = NOISE
    held_out: bool = False

    def utility(self, verdict: Verdict) -> float:
        """Return the utility of a verdict for this labeller, without noise."""
        return sum(weight * score for weight, score in zip(self.leanings, verdict.scores, strict=True))

    def rank(
        self,
        village: Village,
        prompt: VillagePrompt,
        completions: Sequence[str],
        ended: Sequence[bool] | None,
        rng: random.Random,
    ) -> tuple[int, ...]:
        """Return ranks of 2 to 9 completions: 0 is best, equal ranks are ties. ended: None if all ended."""
        if not 2 <= len(completions) <= MOST_COMPLETIONS:
            raise UserError(f"{len(completions)} completions to rank; give 2 to {MOST_COMPLETIONS}")
        flags = [True] * len(completions) if ended is None else list(ended)
        if len(flags) != len(completions):
            raise UserError(f"{len(completions)} completions but {len(flags)} ended flags; give one per completion")
        verdicts = [judge(village, prompt, text, end) for text, end in zip(completions, flags, strict=True)]
        return self.rank_verdicts(verdicts, rng)

    def rank_verdicts(self, verdicts: Sequence[Verdict], rng: random.Random) -> tuple[int, ...]:
        """Return ranks of verdicts: 0 is best, equal ranks are ties."""
        utilities = [self.utility(v) for v in verdicts]
        levels = _levels(utilities)
        means = [sum(utilities[i] for i in level) / len(level) for level in levels]
        noisy = [mean + self.noise * _gumbel(rng) for mean in means]
        ranks = [0] * len(utilities)
        place = 0
        for k in sorted(range(len(levels)), key=lambda k: -noisy[k]):
            for i in levels[k]:
                ranks[i] = place
            place += len(levels[k])
        return tuple(ranks)


GOLD = Labeller(name="gold", noise=0.0)


def labellers(seed: int = 0, *, n: int = 6, held_out: int = 2) -> tuple[Labeller, ...]:
    """Return n labellers with different leanings (weights 0.7 to 1.3), the last `held_out` for evaluation only."""
    if not 0 <= held_out < n:
        raise UserError(f"held_out = {held_out} must be at least 0 and below n = {n}")
    rng = python_rng(seed, "labellers")
    people = []
    for i in range(n):
        leanings = (rng.uniform(0.7, 1.3), rng.uniform(0.7, 1.3), rng.uniform(0.7, 1.3))
        people.append(Labeller(name=f"labeller-{i}", leanings=leanings, held_out=i >= n - held_out))
    return tuple(people)


def label_comparison(
    village: Village,
    prompt: VillagePrompt,
    completions: Sequence[str],
    labeller: Labeller,
    rng: random.Random,
    *,
    ended: Sequence[bool] | None = None,
) -> Comparison:
    """Return the labeller's ranking as a record; `meta["prompt"]` is the VillagePrompt as JSON."""
    return Comparison(
        prompt=prompt.messages,
        completions=tuple(completions),
        ranks=labeller.rank(village, prompt, completions, ended, rng),
        labeller=labeller.name,
        meta={"source": "village", "held_out_labeller": labeller.held_out, "prompt": prompt.to_json()},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Shares of pairs. The ceiling is the noise-free judge's accuracy on noisy labels: no reward model does better."""

    between_labellers: float  # of pairs that neither of two labellers ties
    ceiling: float  # of pairs that the labeller does not tie; a tie of the gold judge counts 1/2
    ties: float  # pairs that a labeller ties
    n_pairs: int


def measure_agreement(
    village: Village, people: Sequence[Labeller], ranked: Sequence[Sequence[Verdict]], rng: random.Random
) -> Agreement:
    """Rank every set of verdicts by every labeller, and return the shares of agreeing pairs."""
    agree = decided = right = judged = tied = pairs = 0.0
    for verdicts in ranked:
        by = [person.rank_verdicts(verdicts, rng) for person in people]
        gold = GOLD.rank_verdicts(verdicts, rng)
        for i, j in combinations(range(len(verdicts)), 2):
            signs = [_sign(ranks[j] - ranks[i]) for ranks in by]
            best = _sign(gold[j] - gold[i])
            pairs += len(signs)
            tied += signs.count(0)
            judged += sum(s != 0 for s in signs)
            right += sum(1.0 if s == best else 0.5 if best == 0 else 0.0 for s in signs if s)
            for s, t in combinations(signs, 2):
                if s and t:
                    decided += 1
                    agree += s == t
    if not decided or not judged:
        raise UserError("every pair is a tie; rank completions that differ")
    return Agreement(between_labellers=agree / decided, ceiling=right / judged, ties=tied / pairs, n_pairs=int(pairs))


def sample_verdicts(
    village: Village, *, n: int, k: int = 6, seed: int = 0, rates: DemonstrationRates = MIXED, split: str = "train"
) -> list[list[Verdict]]:
    """Return verdicts on k answers to each of n prompts, written with the faults' probabilities `rates`."""
    rng = python_rng(seed, "sample_verdicts")
    prompts = write_prompts(village, n=n, seed=seed, split=split, purpose="reward")
    return [[judge(village, p, write_answer(village, p, rng, rates)) for _ in range(k)] for p in prompts]


def calibrate_noise(village: Village, people: Sequence[Labeller], *, agreement: float = 0.73, seed: int = 0) -> float:
    """Return the noise for which labellers agree with each other at the rate `agreement`, to about 0.01."""
    ranked = sample_verdicts(village, n=300, seed=seed)
    low, high = 0.01, 5.0
    for _ in range(9):
        noise = math.sqrt(low * high)
        noisy = [Labeller(name=p.name, leanings=p.leanings, noise=noise) for p in people]
        measured = measure_agreement(village, noisy, ranked, python_rng(seed, "calibrate"))
        low, high = (noise, high) if measured.between_labellers > agreement else (low, noise)
    return math.sqrt(low * high)


def _levels(utilities: Sequence[float]) -> list[list[int]]:
    """Return indices grouped by utility, best first; a group spans less than TIE."""
    levels: list[list[int]] = []
    for i in sorted(range(len(utilities)), key=lambda i: (-utilities[i], i)):
        if levels and utilities[levels[-1][0]] - utilities[i] < TIE:
            levels[-1].append(i)
        else:
            levels.append([i])
    return levels


def _gumbel(rng: random.Random) -> float:
    return -math.log(-math.log(min(max(rng.random(), 1e-300), 1 - 1e-16)))


def _sign(x: float) -> int:
    return (x > 0) - (x < 0)
