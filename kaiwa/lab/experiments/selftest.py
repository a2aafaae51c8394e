"""Self-test of the harness on answers whose truth is known: identical arms, planted effects, intervals.

    false alarms   two arms with the same chances: at most 5 % may be called different (the exact test is a little shy)
    power          a planted gain, at the n that the plan asks for: found in about 80 %
    coverage       95 % intervals of the difference hold the truth in about 95 %
    clusters       the same with items in clusters: the interval by clusters covers, the plain interval does not
    pipeline       one planted and one null technique through programs, cache, extractor and grader

Simulated answers take the place of a model; statistics, extractor and report are real.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from kaiwa.core.rng import numpy_rng
from kaiwa.lab.asking.program import Program
from kaiwa.lab.experiments.analysis import analyse
from kaiwa.lab.experiments.experiment import Arm, Contrast, Experiment
from kaiwa.lab.experiments.run import run
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.techniques.technique import Decoding, Technique, extract_result
from kaiwa.stats.comparison import cluster_interval, compare, difference_interval
from kaiwa.stats.power import pairs_needed
from kaiwa.text.records import Completion, Conversation
from kaiwa.text.sampling import USUAL, Sampling

BOTH, ONLY_A, ONLY_B = 0.35, 0.15, 0.15  # shares of items that both arms get right, only A, only B
GAIN = 0.10
CLUSTERS = (40, 10)
SHORT = 0.015  # what a bootstrap of ten clusters may lack or exceed


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfCheck:
    """A measured value and the required range from `low` to `high`."""

    name: str
    value: float
    low: float
    high: float
    about: str

    @property
    def passed(self) -> bool:
        return self.low <= self.value <= self.high


def selftest(trials: int = 1000, seed: int = 0) -> list[SelfCheck]:
    """Run all checks. More trials narrow the accepted ranges."""
    rng = numpy_rng(seed, "selftest")
    n = pairs_needed(ONLY_B + GAIN, ONLY_A)
    null = [compare(*_draw_pairs(rng, n, 0.0)) for _ in range(trials)]
    planted = [compare(*_draw_pairs(rng, n, GAIN)) for _ in range(trials)]
    alarms = float(np.mean([c.verdict in ("better", "worse") for c in null]))
    power = float(np.mean([c.verdict == "better" for c in planted]))
    wrong = float(np.mean([c.verdict == "worse" for c in planted]))
    covered = [c.difference.low <= 0 <= c.difference.high for c in null]
    covered += [c.difference.low <= GAIN <= c.difference.high for c in planted]
    slack = 3 * (0.05 * 0.95 / trials) ** 0.5
    wide = 3 * (0.8 * 0.2 / trials) ** 0.5
    checks = [
        SelfCheck(
            name="false alarms",
            value=alarms,
            low=0.05 - 0.025 - slack,
            high=0.05 + slack,
            about=f"identical arms, n = {n}",
        ),
        SelfCheck(
            name="power",
            value=power,
            low=0.8 - 0.03 - wide,
            high=0.8 + 0.05 + wide,
            about=f"+{GAIN:.0%} planted, n = {n}",
        ),
        SelfCheck(
            name="wrong direction", value=wrong, low=0.0, high=0.002 + slack / 3, about="planted gain called worse"
        ),
        SelfCheck(
            name="coverage", value=float(np.mean(covered)), low=0.95 - slack, high=0.95 + slack, about="95 % intervals"
        ),
    ]
    return [*checks, *_check_clusters(rng, trials), *_check_pipeline(seed)]


def _draw_pairs(rng: np.random.Generator, n: int, gain: float) -> tuple[np.ndarray, np.ndarray]:
    shares = [BOTH, ONLY_A, ONLY_B + gain, 1 - BOTH - ONLY_A - ONLY_B - gain]
    kind = rng.choice(4, size=n, p=shares)
    return np.isin(kind, (0, 1)).astype(float), np.isin(kind, (0, 2)).astype(float)


def _check_clusters(rng: np.random.Generator, trials: int) -> list[SelfCheck]:
    """Check many and few clusters of 5 items that mostly share their fate, with the intervals that `compare` uses."""
    checks, slack = [], 3 * (0.05 * 0.95 / trials) ** 0.5
    for k in CLUSTERS:
        covered_plain = covered = 0
        clusters = np.repeat(np.arange(k), 5).tolist()
        for trial in range(trials):
            fate = np.repeat(rng.normal(0, 0.3, k), 5)
            d = np.clip(np.round(fate + rng.normal(0, 0.3, 5 * k)), -1, 1)
            a, b = (d < 0).astype(float), (d > 0).astype(float)
            plain, by_cluster = difference_interval(a, b), cluster_interval(a, b, clusters, 0.95, trial)
            covered_plain += plain.low <= 0 <= plain.high
            covered += by_cluster.low <= 0 <= by_cluster.high
        name = f"coverage, {k} clusters"
        low, high = 0.95 - SHORT - slack, 0.95 + SHORT + slack
        checks.append(SelfCheck(name=name, value=covered / trials, low=low, high=high, about="intervals by cluster"))
    about = f"{CLUSTERS[-1]} clusters: what ignoring them costs"
    return [*checks, SelfCheck(name="coverage without", value=covered_plain / trials, low=0.0, high=0.9, about=about)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedTechnique:
    """A technique with a known effect: the prompt tells the planted model the share of right answers."""

    share: float
    label: str

    @property
    def name(self) -> str:
        return self.label

    def demonstration_answer(self, task: Task, demo: Item) -> str:
        return demo.answer

    def run(self, task: Task, item: Item, decoding: Decoding) -> Program:
        prompt = f"{task.render_prompt(item)} share={self.share} label={self.label}"
        (reply,) = yield (decoding.call(prompt, 8),)
        return extract_result(task, item, reply.text)

    def controls(self) -> dict[str, Technique]:
        return {}


class PlantedShareModel:
    """Stands in for a model: answers rightly as often as the prompt says."""

    name = "planted"

    def generate(self, prompt: Conversation | str, sampling: Sampling = USUAL) -> Completion:
        text = str(prompt)
        share = float(text.rsplit("share=", 1)[1].split()[0])
        right = random.Random(text).random() < share
        return Completion(text="The answer is yes." if right else "The answer is no.")

    def score(self, context: Conversation | str, continuation: str) -> list[float]:
        return [0.0]


def planted_task(n: int, seed: int = 0) -> Task:
    items = tuple(
        Item(id=f"planted-{seed}-{i}", input=f"item {seed} {i}", answer="yes", choices=("yes", "no")) for i in range(n)
    )
    return Task(name="planted", kind="choice", items=items)


def planted_experiment(n: int = 160, seed: int = 0) -> Experiment:
    """Build a plain arm, an arm that is truly better by 25 points, and an arm that is truly the same."""
    arms = [
        Arm(name=label, technique=PlantedTechnique(share=s, label=label))
        for label, s in (("plain", 0.5), ("effect", 0.75), ("null", 0.5))
    ]
    contrasts = (
        Contrast(a="plain", b="effect", claim="planted: +25 points"),
        Contrast(a="plain", b="null", claim="planted: nothing"),
    )
    return Experiment(name="planted", tasks=(planted_task(n, seed),), arms=tuple(arms), contrasts=contrasts)


def _check_pipeline(seed: int, times: int = 12) -> list[SelfCheck]:
    n_found = n_alarms = 0
    for trial in range(times):
        experiment = planted_experiment(seed=seed * times + trial)
        effect, nothing = analyse(experiment, run(experiment, PlantedShareModel())).findings
        n_found += effect.comparison.verdict == "better"
        n_alarms += nothing.comparison.verdict in ("better", "worse")
    return [
        SelfCheck(
            name="pipeline finds the planted", value=n_found / times, low=0.8, high=1.0, about="+25 points, n = 160"
        ),
        SelfCheck(
            name="pipeline's false alarms",
            value=n_alarms / times,
            low=0.0,
            high=0.26,
            about=f"a null arm, {times} runs",
        ),
    ]
