"""Shares that Wilson's interval does not cover: of clustered trials, and as reported by an imperfect judge.

Clusters (k of them, x_j successes of n_j trials each; Korn and Graubard 1998, with Wilson's in place of the exact
interval):

    p = Σx / Σn     v = k/(k-1) · Σ(x_j - p·n_j)² / (Σn)²     n_eff = p(1-p)/v · (z/t_{k-1})²     Wilson(p, n_eff)

n_eff is at most Σn. Departure: for v, a quarter of a cluster that always succeeds and a quarter of a cluster that never
does are added, since the sandwich knows nothing of rare unseen clusters: with 15 clusters of 20 whose shares are
Beta(0.05, 1) the interval covered 85 % without the addition and 98 % with the addition.

A judge of sensitivity a and specificity b, measured on m₁ bad and m₀ good cases (Rogan and Gladen 1978; the interval of
Lang and Reiczigel 2014, section 2.3), that calls a share q of n bad:

    p = (q + b - 1) / (a + b - 1)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kaiwa.core.errors import UserError
from kaiwa.stats.distributions import student_t_ppf
from kaiwa.stats.intervals import NOTHING, Interval, normal_quantile, sums_by_cluster, wilson

PSEUDO = 0.25  # of a cluster, at either end


def share(values: ArrayLike, clusters: Sequence[object] | None = None, level: float = 0.95) -> Interval:
    """Return the mean of values [n] in [0, 1] (right or wrong, won or lost, a half for a tie), one cluster id each.

    Wilson's interval without clusters and where every value is a cluster of its own, else `clustered_share`.
    """
    x = np.asarray(values, dtype=np.float64)
    sums, sizes = sums_by_cluster(x, clusters)
    if len(sums) == len(x):
        return wilson(float(x.sum()), len(x), level)
    return clustered_share(sums.tolist(), [int(n) for n in sizes], level)


def clustered_share(successes: Sequence[float], trials: Sequence[int], level: float = 0.95) -> Interval:
    """Return the share of all trials that succeeded; successes, trials: [k], one pair per cluster.

    n of the interval is the number of clusters with trials. NOTHING for none; limits 0 and 1 for one cluster.
    """
    if len(successes) != len(trials):
        raise UserError(f"clusters: {len(successes)} successes for {len(trials)} trials; give one each")
    x, n = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    return clustered_shares(x, n, np.zeros(len(x), dtype=np.int64), 1, level)[0]


def clustered_shares(
    successes: NDArray[np.float64],
    trials: NDArray[np.float64],
    group: NDArray[np.int64],
    n_groups: int,
    level: float = 0.95,
) -> list[Interval]:
    """Return `clustered_share` of each of many groups at once; successes, trials, group: [n], one entry a cluster."""
    known = trials > 0
    x, n, group = successes[known], trials[known], group[known]
    sums = [
        np.bincount(group, weights=weights, minlength=n_groups).tolist()
        for weights in (np.ones_like(x), x, n, x * x, x * n, n * n)
    ]
    return [_share_of_sums(row, level) for row in zip(*sums, strict=True)]


def _share_of_sums(sums: tuple[float, ...], level: float) -> Interval:
    """Return a clustered share from the number of clusters and the sums of x, n, x², x·n and n²."""
    k, successes, total, xx, xn, nn = sums
    if k == 0:
        return NOTHING
    p = successes / total
    if k == 1:
        return Interval(p, 0.0, 1.0, 1)
    size = total / k
    m = k + 2 * PSEUDO
    guess = (successes + PSEUDO * size) / (m * size)
    squares = max(0.0, xx - 2 * guess * xn + guess * guess * nn)
    squares += PSEUDO * size**2 * ((1 - guess) ** 2 + guess**2)
    spread = m / (m - 1) * squares / (m * size) ** 2
    narrow = (normal_quantile(level) / student_t_ppf(k - 1, 0.5 + level / 2)) ** 2
    effective = min(guess * (1 - guess) / spread, total) * narrow
    low, high = _score_limits(p, effective, normal_quantile(level))
    return Interval(p, low, high, int(k))


def _score_limits(p: float, n: float, z: float) -> tuple[float, float]:
    """Return Wilson's limits for any n above 0, also fractional."""
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return (0.0 if p == 0 else max(0.0, centre - half)), (1.0 if p == 1 else min(1.0, centre + half))


def corrected_share(
    called: float, n: int, *, true_positives: float, bad: int, true_negatives: float, good: int, level: float = 0.95
) -> Interval:
    """Return the true share behind `called` of n, by a judge of measured errors.

    The judge was right on `true_positives` of `bad` cases and on `true_negatives` of `good` cases; "bad" is the counted
    kind, and a judge's "perhaps" counts half. NOTHING for n = 0. UserError for a judge no better than a coin.
    """
    if n == 0:
        return NOTHING
    if not (0 <= called <= n and bad > 0 and good > 0 and true_positives <= bad and true_negatives <= good):
        raise UserError(f"judge: {called} of {n}, {true_positives} of {bad}, {true_negatives} of {good} is impossible")
    z = normal_quantile(level)
    if true_positives / bad + true_negatives / good <= 1:
        raise UserError(
            f"judge: right on {true_positives} of {bad} bad and {true_negatives} of {good} good cases, which is no"
            " better than chance; take another judge"
        )
    q = (called + z * z / 2) / (n + z * z)
    a, b = (true_positives + 1) / (bad + 2), (true_negatives + 1) / (good + 2)
    youden = a + b - 1
    if youden <= 0:
        return Interval(math.nan, 0.0, 1.0, n)
    p = (q + b - 1) / youden
    shift = 2 * z * z * (p * a * (1 - a) / (bad + 2) - (1 - p) * b * (1 - b) / (good + 2))
    spread = q * (1 - q) / (n + z * z) + p * p * a * (1 - a) / (bad + 2) + (1 - p) ** 2 * b * (1 - b) / (good + 2)
    half = z * math.sqrt(spread) / youden
    plain = (called / n + true_negatives / good - 1) / (true_positives / bad + true_negatives / good - 1)
    low, high = (min(1.0, max(0.0, x)) for x in (p + shift - half, p + shift + half))
    return Interval(min(1.0, max(0.0, plain)), low, high, n)
