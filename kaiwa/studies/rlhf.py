"""The experiment behind InstructGPT's tables, at a size that a laptop trains: every arm from the same parents, on the
same prompts, judged by the same gold judge; each claim of the paper is "replicated", "not replicated" or "cannot tell".

    base, base_few_shot       the pretrained model, plain and with the prefix that the reward model likes best
    large, large_few_shot     a model with eight times the parameters, on the same text
    sft, sft_good             tuned on demonstrations of mixed quality, and on good demonstrations only
    ppo_beta_0, _small, _large    PPO with three weights of the KL penalty
    ppo_ptx_small, _tuned     PPO-ptx (β small): γ small, and γ from the ratio of the gradients
    dpo, rloo, best_of_n      the same comparisons and the same reward model, otherwise

Figures are pooled over seeds; intervals are bootstrapped over the people that prompts are about (cloze questions and
rows of text: over themselves), all seeds together: the same prompt in three seeds is not three prompts. Writes
study.json and study.html; stopped or killed, the same command goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaiwa.core.artifact import Artifact, finite, write_atomic
from kaiwa.core.context import Context
from kaiwa.core.lock import lock
from kaiwa.evaluate.rates import clusters
from kaiwa.model.formats.hf_folder import load_scalar
from kaiwa.reward.comparisons import read_comparisons
from kaiwa.reward.loss import pairs
from kaiwa.reward.run import score_rows
from kaiwa.stats.intervals import Interval, bootstrap
from kaiwa.stats.paired import win_rate
from kaiwa.stats.shares import share
from kaiwa.studies.rlhf_measure import ArmMeasurement, Meter, TestSet, build_test_set, candidates, choose_prefix
from kaiwa.studies.rlhf_parents import SeedArtifacts, SharedArtifacts, build_seed, build_shared
from kaiwa.studies.rlhf_sizes import Size
from kaiwa.text.records import read_jsonl
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.world.prompts import prompt_from_json

SAME = Interval(0.5, 0.5, 0.5, 0)  # SFT against itself


@dataclass(frozen=True, slots=True)
class SeedResult:
    """One seed. arms: by name; hacked: on the way of the run against the reward model that likes length, by update."""

    arms: Mapping[str, ArmMeasurement]
    hacked: Mapping[int, ArmMeasurement]
    accuracy: Mapping[float, Sequence[float]]  # share of the comparisons -> accuracy of each test prompt
    comparisons: Mapping[float, int]
    epochs: Sequence[Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Results:
    seeds: Sequence[SeedResult]
    people: Sequence[str]  # whom each test prompt is about

    @property
    def names(self) -> list[str]:
        return list(self.seeds[0].arms)

    def clusters(self) -> list[str]:
        """Return the person whom each figure is about, for figures with one value per prompt, over all seeds."""
        return [person for _ in self.seeds for person in self.people]

    def pool(self, arm: str, what: str) -> list[float]:
        """Return an arm's figures (`what`: a list field of ArmMeasurement), all seeds in a row."""
        return [x for seed in self.seeds for x in getattr(seed.arms[arm], what)]

    def mean(self, arm: str, what: str) -> Interval:
        """Return the mean of a figure with one value per prompt, over all seeds."""
        return bootstrap(self.pool(arm, what), self.clusters())

    def wins(self, arm: str, against: str) -> Interval:
        """Return the share of decided pairs that the gold judge gives to `arm`."""
        if arm == against:
            return SAME
        return win_rate(self.pool(arm, "utility"), self.pool(against, "utility"), self.clusters()).decided

    def accuracy(self, f: float) -> Interval:
        """Return the reward model's accuracy after a share f of the comparisons; a test prompt is one cluster."""
        numbers = [i for seed in self.seeds for i in range(len(seed.accuracy[f]))]
        return share([x for seed in self.seeds for x in seed.accuracy[f]], numbers)

    def difference(self, what: str, arm: str, less: str) -> Interval:
        """Return `arm` less `less` on cloze questions or rows of text, paired item by item."""
        a, b = self.pool(arm, what), self.pool(less, what)
        items = range(len(a) // len(self.seeds))
        return bootstrap([x - y for x, y in zip(a, b, strict=True)], [i for _ in self.seeds for i in items])


def study(size: Size, ctx: Context, out: Path, n_seeds: int) -> Results:
    """Build the missing stages and measure all arms. write_study writes study.json, rlhf_report the page."""
    with lock(out):
        shared = build_shared(size, ctx, out)
        e = size.recipe.evaluate
        test = build_test_set(
            shared.village,
            shared.tokens,
            n=e.prompts,
            clozes=size.clozes,
            max_tokens=e.max_tokens,
            rows=e.evaluate_rows,
            seed=size.recipe.seed,
        )
        seeds = []
        for seed in range(n_seeds):
            chain = build_seed(size, ctx, shared, out, seed)
            seeds.append(measure_seed(size, ctx, shared, chain, test))
        return Results(seeds, clusters(test.prompts))


def measure_seed(size: Size, ctx: Context, shared: SharedArtifacts, chain: SeedArtifacts, test: TestSet) -> SeedResult:
    meter = Meter(
        test, chain.sft, chain.reward, folder=chain.folder / "measured", device=ctx.device, seed=size.recipe.seed
    )
    prefixes = candidates(shared.village, size.prefixes, size.shots, size.recipe.seed)
    prompts = [
        prompt_from_json(row) for row in list(read_jsonl(shared.village.path / "rlhf.jsonl"))[: size.prefix_prompts]
    ]
    arms: dict[str, ArmMeasurement] = {}
    for name, model in (("base", shared.base), ("large", shared.large)):
        ctx.check_stop()
        arms[name] = meter.policy(name, model.path, model.hash)
        best = choose_prefix(meter, name, model, prefixes, prompts)
        few_shot = f"{name}_few_shot"
        arms[few_shot] = meter.policy(few_shot, model.path, f"{model.hash} prefix {best}", prefix=prefixes[best])
    for name, model in {"sft": chain.sft, "sft_good": chain.sft_good, **chain.policies}.items():
        ctx.check_stop()
        arms[name] = meter.policy(name, model.path, model.hash)
    arms["best_of_n"] = meter.best_of("best_of_n", size.best_of)
    hacked = {}
    biased = load_scalar(chain.biased.path).to(ctx.device)
    steps = {n: chain.hacked.path / "updates" / str(n) for n in size.measured_updates} | {
        size.hack_updates: chain.hacked.path
    }
    for n, path in {0: chain.sft.path, **steps}.items():
        identity = f"{chain.hacked.hash} {n}"
        hacked[n] = meter.policy(f"ppo_length-{n}", path, identity, short=True, judge_by=biased)
    accuracy = {f: test_accuracy(model, chain.test, ctx) for f, model in chain.rewards.items()}
    n_trained = {f: int(model.metrics["prompts"]) for f, model in chain.rewards.items()}
    return SeedResult(arms, hacked, accuracy, n_trained, chain.long_reward.metrics["card"]["epochs"])


def test_accuracy(reward: Artifact, file: Path, ctx: Context) -> list[float]:
    """Return, for each test comparison, the share of its decided pairs that the reward model orders rightly."""
    tokenizer = Tokenizer.load(reward.path)
    items = read_comparisons(file, tokenizer, 10_000, ctx.say)
    model = load_scalar(reward.path).to(ctx.device)
    flat = iter(score_rows(model, [item.row for item in items], tokenizer.pad_id, ctx.device).tolist())
    shares = []
    for item in items:
        scores = [next(flat) for _ in item.ranks]
        decided = pairs(item.ranks)
        shares.append(sum(scores[i] > scores[j] for i, j in decided) / len(decided))
    return shares


def arm_rows(results: Results) -> list[dict[str, Any]]:
    """Return one row per arm, as in study.json."""
    rows = []
    for name in results.names:
        row: dict[str, Any] = {"name": name, "seeds": len(results.seeds)}
        row["gold_win_rate"] = results.wins(name, "sft").to_json()
        row["proxy_reward"] = results.mean(name, "proxy").mean
        row["kl"] = results.mean(name, "kl").mean
        row["bits_per_byte_delta"] = results.difference("bits", name, "base").mean
        row["cloze_delta"] = results.difference("cloze", name, "base").mean
        shares = {k: share(results.pool(name, k), results.clusters()).to_json() for k in AXES}
        row |= {"length": results.mean(name, "tokens").mean, **shares}
        rows.append(row)
    return rows


AXES = ("helpful", "truthful", "harmless", "ended")


def write_study(
    results: Results,
    claims: Sequence[Mapping[str, Any]],
    curves: Mapping[str, Any],
    out: Path,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Write study.json: arms, claims, the charts' points, and the plan of the run. Return its content."""
    value: dict[str, Any] = {"arms": arm_rows(results), "claims": list(claims), "curves": curves, "about": about}
    value = finite(value)
    write_atomic(out / "study.json", json.dumps(value, indent=1, ensure_ascii=False))
    return value


def curves_of(results: Results) -> dict[str, Any]:
    """Return the charts' points: over_optimisation (along the run against the reward model that likes length),
    reward_by_comparisons, reward_by_epoch."""
    along = []
    for n in results.seeds[0].hacked:
        measured = [seed.hacked[n] for seed in results.seeds]
        start = [seed.hacked[0] for seed in results.seeds]
        gold = [x for m in measured for x in m.utility]
        kl = _mean([x for m in measured for x in m.kl])
        along.append(
            {
                "update": n,
                "root_kl": max(0.0, kl) ** 0.5,
                "proxy": _mean([x for m in measured for x in m.proxy]) - _mean([x for m in start for x in m.proxy]),
                "gold": _mean(gold) - _mean([x for m in start for x in m.utility]),
                "length": _mean([x for m in measured for x in m.tokens]),
            }
        )
    by_size = [
        {
            "comparisons": _mean([float(seed.comparisons[f]) for seed in results.seeds]),
            "accuracy": results.accuracy(f).to_json(),
        }
        for f in results.seeds[0].accuracy
    ]
    keys = list(results.seeds[0].epochs[0])
    by_epoch = [
        {"epoch": i + 1, **{k: _mean([seed.epochs[i][k] for seed in results.seeds]) for k in keys}}
        for i in range(len(results.seeds[0].epochs))
    ]
    return {"over_optimisation": along, "reward_by_comparisons": by_size, "reward_by_epoch": by_epoch}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
