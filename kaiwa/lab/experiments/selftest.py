"""Self-test of the harness on answers whose truth is known: identical arms, planted effects, intervals.

    false alarms   two arms with the same chances: at most 5 % may be called different (the exact test is a little shy)
    power          a planted gain, at the n that the plan asks for: found in about 80 %
    coverage       95 % intervals of the difference hold the truth in about 95 %
    clusters       the same with items in clusters: the interval by clusters covers, the plain interval does not; with
                   five clusters nothing is called different or the same
    no difference  a true difference of just the margin: called "no difference" in at most 5 %
    ledger         ten empty experiments on the same items: after Holm over all at most 5 % keep a verdict
    failures       half of one arm's right answers lost: no verdict that the failures alone made
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
from kaiwa.lab.experiments.ledger import LedgerLine, view_ledger
from kaiwa.lab.experiments.run import run
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.techniques.technique import Decoding, Technique, extract_result
from kaiwa.stats.comparison import cluster_interval, compare, difference_interval
from kaiwa.stats.failures import withhold_for_failures
from kaiwa.stats.power import pairs_needed
from kaiwa.text.records import Completion, Conversation
from kaiwa.text.sampling import USUAL, Sampling

BOTH, ONLY_A, ONLY_B = 0.35, 0.15, 0.15  # shares of items that both arms get right, only A, only B
GAIN = 0.10
CLUSTERS = (40, 10)
MARGIN = 0.05
LOOKS = 10  # experiments in the ledger's check
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
    checks += [_check_same(rng, trials), _check_ledger(rng, trials), _check_failures(rng, trials)]
    return [*checks, *_check_clusters(rng, trials), *_check_cluster_verdicts(rng, trials), *_check_pipeline(seed)]


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


def _check_same(rng: np.random.Generator, trials: int, n: int = 800) -> SelfCheck:
    """Check that a true difference of just the margin is rarely called none."""
    verdicts = [compare(*_draw_pairs(rng, n, MARGIN), margin=MARGIN).verdict for _ in range(trials)]
    high = 0.05 + 3 * (0.05 * 0.95 / trials) ** 0.5
    about = f"true difference {MARGIN:.0%} = the margin, n = {n}"
    return SelfCheck(
        name="no difference, wrongly", value=verdicts.count("same") / trials, low=0.0, high=high, about=about
    )


def _check_ledger(rng: np.random.Generator, trials: int, n: int = 120) -> SelfCheck:
    """Check that of ten empty experiments on the same items hardly any keeps a verdict after Holm over all."""
    alarms, rounds = 0, max(50, trials // 10)
    for _ in range(rounds):
        base, lines = rng.random(n) < 0.5, []
        for i in range(LOOKS):
            other = np.where(rng.random(n) < 0.3, rng.random(n) < 0.5, base)
            c = compare(base.astype(float), other.astype(float))
            compared = (("b − a", c.p, c.verdict),)
            lines.append(LedgerLine(run=str(i), experiment="", task="t", items=("x",), comparisons=compared))
        views = (view_ledger(line, [o for o in lines if o is not line]) for line in lines)
        alarms += any(view.confirmed for view in views)
    high = 0.05 + 3 * (0.05 * 0.95 / rounds) ** 0.5
    about = f"{LOOKS} empty experiments on the same items"
    return SelfCheck(name="ledger's false alarms", value=alarms / rounds, low=0.0, high=high, about=about)


def _check_failures(rng: np.random.Generator, trials: int, n: int = 100) -> SelfCheck:
    """Check that losing half of B's wrong answers, which makes B look better, gives no verdict."""
    wrong = 0
    for _ in range(trials):
        a, b = _draw_pairs(rng, n, 0.0)
        whole = (b == 1) | (rng.random(n) < 0.5)
        comparison = compare(a[whole], b[whole])
        wrong += withhold_for_failures(comparison, a[whole], b[whole], int(n - whole.sum())).verdict == "better"
    high = 0.002 + 3 * (0.002 / trials) ** 0.5
    about = "identical arms, half of B's wrong answers failed"
    return SelfCheck(name="failures' false alarms", value=wrong / trials, low=0.0, high=high, about=about)


def _check_cluster_verdicts(rng: np.random.Generator, trials: int) -> list[SelfCheck]:
    """Check the verdicts over clusters: false alarms with 20 clusters, and none at all with five."""
    checks, rounds = [], max(50, trials // 10)
    for k, high in ((20, 0.05 + 3 * (0.05 * 0.95 / rounds) ** 0.5), (5, 0.0)):
        clusters, n_alarms = np.repeat(np.arange(k), 5).tolist(), 0
        for trial in range(rounds):
            d = np.clip(np.round(np.repeat(rng.normal(0, 0.5, k), 5) + rng.normal(0, 0.3, 5 * k)), -1, 1)
            c = compare((d < 0).astype(float), (d > 0).astype(float), clusters=clusters, margin=0.3, seed=trial)
            n_alarms += c.verdict in (("better", "worse") if k > 5 else ("better", "worse", "same"))
        name = f"verdicts, {k} clusters"
        checks.append(SelfCheck(name=name, value=n_alarms / rounds, low=0.0, high=high, about="nothing to find"))
    return checks


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
