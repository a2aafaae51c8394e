"""From outcomes to findings: three numbers an arm, one paired comparison a contrast, Holm over all contrasts.

The unit is the item: an item's seeds are averaged first. Items that failed under either arm are no pair. Items of one
cluster are not independent. A contrast is better or worse only if its p, adjusted by Holm over all that were
registered, says so. Where a model graded (judged.py), shares and differences are freed of its measured errors.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import special

from kaiwa.core.errors import UserError
from kaiwa.lab.experiments.experiment import Contrast, Experiment
from kaiwa.lab.experiments.judge_scores import JudgeCheck
from kaiwa.lab.experiments.run import Outcome
from kaiwa.lab.tasks.task import Task
from kaiwa.stats.comparison import POWER, Comparison, compare
from kaiwa.stats.intervals import NOTHING, Interval, bootstrap_share, normal_quantile, wilson
from kaiwa.stats.judged import compare_judged
from kaiwa.stats.multiple import holm
from kaiwa.stats.shares import corrected_share

ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    """valid: share of readable answers; when_valid: score of those; accuracy: score of all that did not fail."""

    task: str
    arm: str
    n: int
    failed: int
    valid: Interval
    when_valid: Interval
    accuracy: Interval
    histogram: tuple[tuple[str, int], ...]
    n_prompt: int
    n_reused: int
    n_tokens: int
    seconds: float
    calls: int
    cost: float
    notes: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A contrast's result. `p_holm`: adjusted. `lost`, `won`: ids of items that B lost and won."""

    task: str
    contrast: Contrast
    found: Comparison
    p_holm: float
    lost: tuple[str, ...]
    won: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    experiment: Experiment
    model: str
    arms: tuple[ArmResult, ...]
    findings: tuple[Finding, ...]
    outcomes: tuple[Outcome, ...]
    checks: Mapping[str, JudgeCheck] = dataclasses.field(default_factory=dict)


def analyse(
    experiment: Experiment,
    outcomes: Sequence[Outcome],
    model: str = "",
    checks: Mapping[str, JudgeCheck] | None = None,
) -> Analysis:
    """checks: by task what its judge is worth, from `judged`."""
    by_arm: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        by_arm.setdefault((outcome.task, outcome.arm), []).append(outcome)
    arms, findings = [], []
    known = checks or {}
    for task in experiment.tasks:
        check = known.get(task.name)
        for arm in experiment.arms_of(task):
            arms.append(arm_result(task, arm.name, by_arm[task.name, arm.name], experiment.prices, check))
        for contrast in experiment.contrasts_of(task):
            a, b = by_arm[task.name, contrast.a], by_arm[task.name, contrast.b]
            findings.append(finding(task, contrast, a, b, experiment.margin / 100, check))
    adjusted: list[float] = holm([f.found.p for f in findings]).tolist()
    settled = tuple(
        dataclasses.replace(f, p_holm=p, found=confirmed(f.found, p)) for f, p in zip(findings, adjusted, strict=True)
    )
    return Analysis(
        experiment=experiment,
        model=model,
        arms=tuple(arms),
        findings=settled,
        outcomes=tuple(outcomes),
        checks=known,
    )


def confirmed(found: Comparison, p: float) -> Comparison:
    """What Holm does not confirm is not known; the n that would tell is then that of the level it was held to.

    Pairs needed grow with (z_level + z_power)²; p / found.p is how many tests the level was shared by.
    """
    if found.verdict not in ("better", "worse") or p < ALPHA:
        return found
    power = float(special.ndtri(POWER))
    shared = normal_quantile(1 - ALPHA * found.p / p) + power
    more = math.ceil((found.n_needed or found.n) * (shared / (normal_quantile(1 - ALPHA) + power)) ** 2)
    return dataclasses.replace(found, verdict="unknown", n_needed=max(more, found.n + 1))


def by_item(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """id -> mean score over its seeds; an item that failed with any seed is left out."""
    scores: dict[str, list[float]] = {}
    failed = {outcome.id for outcome in outcomes if outcome.error}
    for outcome in outcomes:
        if outcome.id not in failed:
            scores.setdefault(outcome.id, []).append(outcome.score)
    return {id: sum(values) / len(values) for id, values in scores.items()}


def arm_result(
    task: Task,
    arm: str,
    outcomes: Sequence[Outcome],
    prices: tuple[float, float] = (0, 0),
    check: JudgeCheck | None = None,
) -> ArmResult:
    """`check`: of the judge that graded; right shares are then freed of its errors. UserError where it is missing."""
    if task.grader.judge is not None and check is None:
        raise UserError(
            f"task {task.name} is graded by a model: lab/experiments/judge_scores.py comes before the analysis"
        )
    done = [o for o in outcomes if not o.error]
    read = [o for o in done if o.valid]
    clusters = {item.id: item.cluster or item.id for item in task.items}
    n_prompt, n_tokens = sum(o.n_prompt for o in outcomes), sum(o.n_tokens for o in outcomes)
    counted: Counter[str] = Counter()
    for outcome in done:
        for name, value in outcome.notes.items():
            if isinstance(value, int | float):
                counted[name] += value  # type: ignore[assignment]
    return ArmResult(
        task=task.name,
        arm=arm,
        n=len(done),
        failed=len(outcomes) - len(done),
        valid=_share([float(o.valid) for o in done], [clusters[o.id] for o in done]),
        when_valid=_right(read, clusters, check),
        accuracy=_right(done, clusters, check),
        histogram=tuple(Counter(o.answer if o.answer is not None else "—" for o in done).most_common(6)),
        n_prompt=n_prompt,
        n_reused=sum(o.n_reused for o in outcomes),
        n_tokens=n_tokens,
        seconds=sum(o.seconds for o in outcomes),
        calls=sum(o.calls for o in outcomes),
        cost=(n_prompt * prices[0] + n_tokens * prices[1]) / 1e6,
        notes={name: value / max(1, len(done)) for name, value in counted.items()},
    )


def _right(outcomes: Sequence[Outcome], clusters: Mapping[str, str], check: JudgeCheck | None) -> Interval:
    """The share of right answers; NOTHING of pairwise graded ones, and where the judge is no better than a coin.

    A judge's share is corrected as if the items of a cluster were one, which is on the safe side.
    """
    values, where = [o.score for o in outcomes], [clusters[o.id] for o in outcomes]
    if check is None:
        return _share(values, where)
    if not values or not all(map(math.isfinite, values)) or not check.agreement.told.low > 0:
        return NOTHING
    k = len(set(where))
    a, b = check.agreement.sensitivity, check.agreement.specificity
    return corrected_share(k * sum(values) / len(values), k, a.right, a.n, b.right, b.n)


def _share(values: list[float], clusters: list[str]) -> Interval:
    """Wilson for independent rights and wrongs (also at 0 and 1), else the bootstrap over clusters."""
    if len(set(clusters)) == len(clusters) and all(v in (0.0, 1.0) for v in values):
        return wilson(sum(values), len(values))
    if all(v == values[0] for v in values) and values[0] in (0.0, 1.0):
        return wilson(values[0] * len(set(clusters)), len(set(clusters)))
    return bootstrap_share(values, clusters)


def finding(
    task: Task,
    contrast: Contrast,
    a: Sequence[Outcome],
    b: Sequence[Outcome],
    margin: float,
    check: JudgeCheck | None = None,
) -> Finding:
    one, two = by_item(a), by_item(b)
    if check is not None and task.grader.name == "pairwise":
        preferred = check.preferred.get((contrast.a, contrast.b), {})
        one = {id: max(0.0, 1 - 2 * share) for id, share in preferred.items()}  # who won; a tie is 0 against 0
        two = {id: max(0.0, 2 * share - 1) for id, share in preferred.items()}
    ids = [item.id for item in task.items if item.id in one and item.id in two]
    clusters = [item.cluster for item in task.items if item.id in one and item.id in two]
    use = clusters if any(clusters) else None
    x, y = [one[i] for i in ids], [two[i] for i in ids]
    if check is None:
        found = compare(x, y, clusters=use, margin=margin)
    else:
        agreed = check.agreement
        found = compare_judged(x, y, agreed.sensitivity, agreed.specificity, clusters=use, margin=margin)
    return Finding(
        task=task.name,
        contrast=contrast,
        found=found,
        p_holm=found.p,
        lost=tuple(i for i in ids if two[i] < one[i]),
        won=tuple(i for i in ids if two[i] > one[i]),
    )


def rows(analysis: Analysis) -> list[dict[str, Any]]:
    """The findings as flat rows (CSV, JSON)."""
    from kaiwa.lab.experiments.verdicts import verdict

    return [
        {
            "task": f.task,
            "a": f.contrast.a,
            "b": f.contrast.b,
            "claim": f.contrast.claim,
            "n": f.found.n,
            "mean_a": f.found.mean_a,
            "mean_b": f.found.mean_b,
            "difference": f.found.difference.mean,
            "low": f.found.difference.low,
            "high": f.found.difference.high,
            "lost": f.found.lost,
            "won": f.found.won,
            "p": f.found.p,
            "p_holm": f.p_holm,
            "n_needed": f.found.n_needed,
            "verdict": verdict(f.found),
            "judge": ", ".join(analysis.checks[f.task].faults()) or "no faults" if f.task in analysis.checks else "",
        }
        for f in analysis.findings
    ]
