"""From outcomes to findings: three numbers per arm, one paired comparison per contrast, Holm over all contrasts.

The unit is the item: an item's seeds are averaged first. Items that failed under either arm are no pair. Items of one
cluster are not independent. A contrast is better or worse only by its p adjusted by Holm over all registered contrasts.
Where a model graded (judge_scores.py), shares and differences are corrected for the judge's measured errors.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.lab.asking.budget import FREE, Prices
from kaiwa.lab.experiments.baselines import Baselines, task_baselines
from kaiwa.lab.experiments.experiment import Contrast, Experiment
from kaiwa.lab.experiments.judge_scores import JudgeCheck
from kaiwa.lab.experiments.run import ItemOutcome
from kaiwa.lab.experiments.verdicts import verdict_text
from kaiwa.lab.tasks.task import Task
from kaiwa.stats.comparison import POWER, PairedComparison, compare, fewest_clusters
from kaiwa.stats.distributions import normal_ppf
from kaiwa.stats.failures import withhold_for_failures
from kaiwa.stats.intervals import NOTHING, Interval, normal_quantile
from kaiwa.stats.judged import compare_judged
from kaiwa.stats.multiple import holm
from kaiwa.stats.shares import corrected_share, share

ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    """One arm on one task.

    n: items times seeds that did not fail. valid: share of readable answers; when_valid: score of readable answers;
    accuracy: score of all n. histogram: the most frequent answers. notes: the mean of each number in the outcomes'
    notes. cost: money.
    """

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
class ContrastFinding:
    """A contrast's result. `p_holm`: p adjusted by Holm. `lost`, `won`: ids of the items that B lost and won."""

    task: str
    contrast: Contrast
    comparison: PairedComparison
    p_holm: float
    lost: tuple[str, ...]
    won: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    experiment: Experiment
    model: str
    arms: tuple[ArmResult, ...]
    findings: tuple[ContrastFinding, ...]
    outcomes: tuple[ItemOutcome, ...]
    checks: Mapping[str, JudgeCheck] = dataclasses.field(default_factory=dict)
    baselines: Mapping[str, Baselines] = dataclasses.field(default_factory=dict)

    def scores(self, task: str, arm: str) -> dict[str, float]:
        """Return id -> mean score of an arm's items that did not fail."""
        return mean_scores_by_item([o for o in self.outcomes if (o.task, o.arm) == (task, arm)])


def analyse(
    experiment: Experiment,
    outcomes: Sequence[ItemOutcome],
    model: str = "",
    checks: Mapping[str, JudgeCheck] | None = None,
) -> Analysis:
    """Analyse an experiment's outcomes. checks: by task, the judge's measured quality, from
    `judge_scores.apply_judges`.
    """
    by_arm: dict[tuple[str, str], list[ItemOutcome]] = {}
    for outcome in outcomes:
        by_arm.setdefault((outcome.task, outcome.arm), []).append(outcome)
    arms, findings = [], []
    judge_checks = checks or {}
    for task in experiment.tasks:
        check = judge_checks.get(task.name)
        for arm in experiment.arms_of(task):
            prices = experiment.prices_of(arm.model or experiment.model)
            arms.append(summarise_arm(task, arm.name, by_arm[task.name, arm.name], prices, check))
        for contrast in experiment.contrasts_of(task):
            a, b, *less = (by_arm[task.name, name] for name in contrast.arms)
            findings.append(compare_arms(task, contrast, a, b, less=less, margin=experiment.margin / 100, check=check))
    adjusted: list[float] = holm([f.comparison.p for f in findings]).tolist()
    settled = tuple(
        dataclasses.replace(f, p_holm=p, comparison=apply_holm(f.comparison, p))
        for f, p in zip(findings, adjusted, strict=True)
    )
    return Analysis(
        experiment=experiment,
        model=model,
        arms=tuple(arms),
        findings=settled,
        outcomes=tuple(outcomes),
        checks=judge_checks,
        baselines={task.name: task_baselines(task, outcomes) for task in experiment.tasks},
    )


def apply_holm(comparison: PairedComparison, p: float) -> PairedComparison:
    """Withdraw a verdict that Holm's adjusted `p` does not confirm, and raise n_needed to the adjusted level.

    Pairs needed grow with (z_level + z_power)²; p / comparison.p is the number of tests that shared the level.
    """
    if comparison.verdict not in ("better", "worse") or p < ALPHA:
        return comparison
    shared_by = p / comparison.p if comparison.p > 0 else 1.0
    if comparison.n_clusters and (needed := fewest_clusters(ALPHA / shared_by)) > comparison.n_clusters:
        return dataclasses.replace(comparison, verdict="few", n_needed=None, clusters_needed=needed)
    power = normal_ppf(POWER)
    shared = normal_quantile(1 - ALPHA * comparison.p / p) + power
    more = math.ceil((comparison.n_needed or comparison.n) * (shared / (normal_quantile(1 - ALPHA) + power)) ** 2)
    return dataclasses.replace(comparison, verdict="unknown", n_needed=max(more, comparison.n + 1))


def mean_scores_by_item(outcomes: Sequence[ItemOutcome]) -> dict[str, float]:
    """Return id -> mean score over the item's seeds; an item that failed with any seed is left out."""
    scores: dict[str, list[float]] = {}
    failed = {outcome.id for outcome in outcomes if outcome.error}
    for outcome in outcomes:
        if outcome.id not in failed:
            scores.setdefault(outcome.id, []).append(outcome.score)
    return {id: sum(values) / len(values) for id, values in scores.items()}


def summarise_arm(
    task: Task,
    arm: str,
    outcomes: Sequence[ItemOutcome],
    prices: Prices = FREE,
    check: JudgeCheck | None = None,
) -> ArmResult:
    """Summarise the outcomes of one arm on one task.

    `prices`: money for a million tokens. `check`: of the judge that graded; the shares are then
    corrected for the judge's errors; UserError where a judge graded and the check is missing.
    """
    if task.grader.judge is not None and check is None:
        raise UserError(
            f"task {task.name} is graded by a model: lab/experiments/judge_scores.py comes before the analysis"
        )
    done = [o for o in outcomes if not o.error]
    read = [o for o in done if o.valid]
    clusters = {item.id: item.cluster or item.id for item in task.items}
    n_prompt, n_reused = sum(o.n_prompt for o in outcomes), sum(o.n_reused for o in outcomes)
    n_tokens = sum(o.n_tokens for o in outcomes)
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
        valid=share([float(o.valid) for o in done], [clusters[o.id] for o in done]),
        when_valid=_right(read, clusters, check),
        accuracy=_right(done, clusters, check),
        histogram=tuple(
            Counter(o.answer if o.answer is not None else f"— {o.no_answer}".strip() for o in done).most_common(6)
        ),
        n_prompt=n_prompt,
        n_reused=n_reused,
        n_tokens=n_tokens,
        seconds=sum(o.seconds for o in outcomes),
        calls=sum(o.calls for o in outcomes),
        cost=prices.cost(n_prompt, n_reused, n_tokens),
        notes={name: value / max(1, len(done)) for name, value in counted.items()},
    )


def _right(outcomes: Sequence[ItemOutcome], clusters: Mapping[str, str], check: JudgeCheck | None) -> Interval:
    """Return the share of right answers; NOTHING for pairwise graders and for a judge that is no better than a coin.

    A judge's share is corrected as if a cluster were a single item, which errs on the safe side.
    """
    values, where = [o.score for o in outcomes], [clusters[o.id] for o in outcomes]
    if check is None:
        return share(values, where)
    if not values or not all(map(math.isfinite, values)) or not check.agreement.youden_j.low > 0:
        return NOTHING
    k = len(set(where))
    a, b = check.agreement.sensitivity, check.agreement.specificity
    return corrected_share(
        k * sum(values) / len(values), k, true_positives=a.right, bad=a.n, true_negatives=b.right, good=b.n
    )


def compare_arms(
    task: Task,
    contrast: Contrast,
    a: Sequence[ItemOutcome],
    b: Sequence[ItemOutcome],
    *,
    margin: float,
    less: Sequence[Sequence[ItemOutcome]] = (),
    check: JudgeCheck | None = None,
) -> ContrastFinding:
    """Compare arm B with arm A on the items that both answered; `margin` is a share.

    `less`: the outcomes of A' and B' of an interaction, which compares B - B' with A - A'.
    """
    scores_a, scores_b = mean_scores_by_item(a), mean_scores_by_item(b)
    if less:
        scores_a, scores_b = _minus(scores_a, less[0]), _minus(scores_b, less[1])
    if check is not None and task.grader.name == "pairwise":
        preferred = check.preferred.get((contrast.a, contrast.b), {})
        scores_a = {id: max(0.0, 1 - 2 * share) for id, share in preferred.items()}  # who won; a tie is 0 against 0
        scores_b = {id: max(0.0, 2 * share - 1) for id, share in preferred.items()}
    ids = [item.id for item in task.items if item.id in scores_a and item.id in scores_b]
    clusters = [item.cluster for item in task.items if item.id in scores_a and item.id in scores_b]
    cluster_ids = clusters if any(clusters) else None
    x, y = [scores_a[i] for i in ids], [scores_b[i] for i in ids]
    if check is None:
        comparison = compare(x, y, clusters=cluster_ids, margin=margin)
    else:
        agreed = check.agreement
        comparison = compare_judged(x, y, agreed.sensitivity, agreed.specificity, clusters=cluster_ids, margin=margin)
    if check is None or task.grader.name != "pairwise":
        comparison = withhold_for_failures(comparison, x, y, len(task.items) - len(ids), clusters=cluster_ids)
    return ContrastFinding(
        task=task.name,
        contrast=contrast,
        comparison=comparison,
        p_holm=comparison.p,
        lost=tuple(i for i in ids if scores_b[i] < scores_a[i]),
        won=tuple(i for i in ids if scores_b[i] > scores_a[i]),
    )


def _minus(scores: Mapping[str, float], outcomes: Sequence[ItemOutcome]) -> dict[str, float]:
    """Return the scores less those of the same items in `outcomes`; items that failed on either side are left out."""
    others = mean_scores_by_item(outcomes)
    return {id: score - others[id] for id, score in scores.items() if id in others}


def finding_rows(analysis: Analysis) -> list[dict[str, Any]]:
    """Return the findings as flat rows, for CSV and JSON."""
    return [
        {
            "task": f.task,
            "a": f.contrast.a,
            "b": f.contrast.b,
            "less": " − ".join(reversed(f.contrast.less)),
            "claim": f.contrast.claim,
            "n": f.comparison.n,
            "failed": f.comparison.n_failed,
            "informative": analysis.baselines[f.task].informative,
            "mean_a": f.comparison.mean_a,
            "mean_b": f.comparison.mean_b,
            "difference": f.comparison.difference.mean,
            "low": f.comparison.difference.low,
            "high": f.comparison.difference.high,
            "lost": f.comparison.lost,
            "won": f.comparison.won,
            "p": f.comparison.p,
            "p_holm": f.p_holm,
            "n_needed": f.comparison.n_needed,
            "verdict": verdict_text(f.comparison),
            "judge": ", ".join(analysis.checks[f.task].faults()) or "no faults" if f.task in analysis.checks else "",
        }
        for f in analysis.findings
    ]
