"""A difference as reported by an imperfect judge, and the true difference behind the report.

A judge that calls a right answer right with chance a (sensitivity) and a wrong answer wrong with chance b (specificity)
calls the share q = p·a + (1 - p)·(1 - b) of answers right; so, if the judge errs alike under both conditions (Rogan and
Gladen 1978),

    J = a + b - 1        p_B - p_A = (q_B - q_A) / J        p = (q + b - 1) / J

a and b were measured on labelled cases and are not certain, so the interval of the difference is the interval of the
quotient: a and b are drawn from Jeffreys' posterior, q_B - q_A from a normal law with the half-widths of its own
interval, and the quotient's quantiles are taken. The same holds for a judge of pairs, with a and b the chances to
prefer the better answer where the better answer is B, or A. A judge whose J may be 0 or below (no more than a coin)
decides nothing: "unjudged".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kaiwa.stats.comparison import PairedComparison, Values, cluster_interval, compare, difference_interval
from kaiwa.stats.intervals import Interval, normal_quantile

DRAWS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRate:
    """Number of `n` labelled cases of one kind that a judge got right; a tie or a change of mind counts half."""

    right: float
    n: int


def youden(sensitivity: JudgeRate, specificity: JudgeRate, level: float = 0.95, seed: int = 0) -> Interval:
    """Return Youden's J = sensitivity + specificity - 1 with an interval: 1 is a perfect judge, 0 a coin.

    n of the interval is the smaller number of labels.
    """
    drawn = _draw_youden(sensitivity, specificity, np.random.default_rng(seed))
    n = min(sensitivity.n, specificity.n)
    if not n:
        return Interval(math.nan, -1.0, 1.0, 0)
    mean = sensitivity.right / sensitivity.n + specificity.right / specificity.n - 1
    low, high = np.quantile(drawn, _tails(level))
    return Interval(mean, float(low), float(high), n)


def compare_judged(
    a: ArrayLike,
    b: ArrayLike,
    sensitivity: JudgeRate,
    specificity: JudgeRate,
    *,
    clusters: Sequence[object] | None = None,
    margin: float = 0.03,
    level: float = 0.95,
    seed: int = 0,
) -> PairedComparison:
    """Compare a judge's verdicts a, b [n] of 0s, 1s (and halves), corrected for the judge's errors.

    `difference`, margin and verdict are corrected; mean_a, mean_b, lost, won and p stay the judge's. The verdict is
    "unjudged" where J's interval reaches 0. Errors as in `compare`.
    """
    judge_j = youden(sensitivity, specificity, level, seed)
    if not judge_j.low > 0:
        comparison = compare(a, b, clusters=clusters, margin=margin, level=level, seed=seed)
        nothing = Interval(math.nan, -1.0, 1.0, comparison.n)
        return dataclasses.replace(comparison, difference=nothing, n_needed=None, verdict="unjudged")
    comparison = compare(a, b, clusters=clusters, margin=margin * judge_j.mean, level=level, seed=seed)
    comparison = dataclasses.replace(comparison, margin=margin)
    if not comparison.n:
        return comparison
    quotient = _quotient(comparison.difference, sensitivity, specificity, level, seed)
    corrected = dataclasses.replace(comparison, difference=quotient)
    if comparison.verdict != "same":
        return corrected
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    inner_level = 1 - 2 * (1 - level)
    inner = _quotient(_interval(x, y, clusters, inner_level, seed), sensitivity, specificity, inner_level, seed)
    if -margin < inner.low and inner.high < margin:
        return corrected
    return dataclasses.replace(corrected, verdict="unknown", n_needed=max(comparison.n + 1, comparison.n_needed or 0))


def _interval(a: Values, b: Values, clusters: Sequence[object] | None, level: float, seed: int) -> Interval:
    if clusters is None:
        return difference_interval(a, b, level)
    return cluster_interval(a, b, clusters, level, seed)


def _quotient(d: Interval, sensitivity: JudgeRate, specificity: JudgeRate, level: float, seed: int) -> Interval:
    """Return d / J. Only draws with J above 0 count, since the judge was found to be better than a coin."""
    rng = np.random.default_rng(seed)
    drawn = _draw_youden(sensitivity, specificity, rng)
    z = rng.standard_normal(DRAWS) / normal_quantile(level)
    called = d.mean + np.where(z > 0, z * (d.high - d.mean), z * (d.mean - d.low))
    above = drawn > 0
    mean = d.mean / (sensitivity.right / sensitivity.n + specificity.right / specificity.n - 1)
    low, high = np.quantile(called[above] / drawn[above], _tails(level))
    return Interval(_within(mean), _within(float(low)), _within(float(high)), d.n)


def _within(x: float) -> float:
    return min(1.0, max(-1.0, x))


def _draw_youden(sensitivity: JudgeRate, specificity: JudgeRate, rng: np.random.Generator) -> np.ndarray:
    a, b = (rng.beta(m.right + 0.5, m.n - m.right + 0.5, DRAWS) for m in (sensitivity, specificity))
    return np.asarray(a + b - 1)


def _tails(level: float) -> list[float]:
    return [(1 - level) / 2, (1 + level) / 2]
