"""Two conditions A and B on the same items, compared in one record: always B - A, with interval, test, verdict and the
needed n.

    d_i = b_i - a_i        difference = mean(d) ± t_{n-1} · sd(d) / √n         (Miller 2024, section 4.2)

right or wrong:  p is McNemar's, exact; where all differences are equal the t interval has no width and Newcombe's
                 score interval for pairs takes its place (0 of 20 is not "never")
scores:          p is the paired t test's; `mcnemar_p` is then the sign test of the decided pairs
clusters:        values of one cluster are no independent evidence: the interval is bootstrapped over clusters, p is
                 the permutation test of the clusters' summed differences

The verdict: *better* or *worse* where p < 1 - level; *same* where two one-sided tests put the difference within the
margin (for right or wrong Newcombe's interval must agree); else *unknown*, with the n that would decide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kaiwa.core.errors import UserError
from kaiwa.stats.distributions import normal_ppf, student_t_cdf, student_t_ppf
from kaiwa.stats.equivalence import tost
from kaiwa.stats.intervals import NOTHING, Interval, bootstrap, difference_paired, normal_quantile
from kaiwa.stats.paired import mcnemar, permutation_test
from kaiwa.stats.power import pairs_for_equivalence, pairs_needed

Values = NDArray[np.float64]
POWER = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedComparison:
    """B against A on n items.

    `lost`, `won`: items where B is below, above A. `difference` and `margin` are in the values' unit. `n_needed`: pairs
    that would decide, None where none can be named. `verdict`: "better", "worse", "same", "unknown", (by an imperfect
    judge, judged.py) "unjudged", (failures.py) "failed" or "few": fewer clusters than `clusters_needed`, which no
    number of items makes up for. `n_failed`: items that failed under A or B and are no pair.
    """

    n: int
    mean_a: float
    mean_b: float
    difference: Interval
    lost: int
    won: int
    mcnemar_p: float
    p: float
    n_needed: int | None
    verdict: str
    margin: float
    level: float = 0.95
    n_failed: int = 0
    n_clusters: int = 0
    clusters_needed: int = 0


def compare(
    a: ArrayLike,
    b: ArrayLike,
    *,
    clusters: Sequence[object] | None = None,
    margin: float = 0.03,
    level: float = 0.95,
    seed: int = 0,
) -> PairedComparison:
    """Compare B with A on the same items.

    a, b: [n] scores in the same order of items. clusters: [n] ids; items with equal ids are not independent. margin: a
    difference that would not matter, in the scores' unit. level: of the interval; p below 1 - level decides. UserError
    for lists of different lengths and for a margin that is not above 0.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise UserError(f"pairs: {x.shape} values against {y.shape}; both must be lists of the same items")
    if not margin > 0:
        raise UserError(f"margin: {margin} must be above 0; it is the difference that would not matter")
    d = y - x
    n, won, lost = len(d), int((d > 0).sum()), int((d < 0).sum())
    if n == 0:
        return _empty_comparison(margin, level)
    binary = bool(np.isin(x, (0, 1)).all() and np.isin(y, (0, 1)).all())
    sign_p = mcnemar(lost, won)
    if clusters is None:
        difference = difference_interval(x, y, level)
        p = sign_p if binary else _t_test(d)
        design = 1.0
    else:
        plain = difference_interval(x, y, level)
        difference = cluster_interval(x, y, clusters, level, seed)
        p = _cluster_test(d, clusters, seed)
        width = difference.high - difference.low
        design = max(1.0, (width / (plain.high - plain.low)) ** 2) if math.isfinite(width) else 1.0
    verdict = _verdict(
        x, y, binary=binary, difference=difference, p=p, margin=margin, level=level, clusters=clusters, seed=seed
    )
    n_clusters = 0 if clusters is None else len(set(clusters))
    few = clusters is not None and n_clusters < fewest_clusters(1 - level)
    verdict = "few" if few else verdict
    return PairedComparison(
        n=n,
        mean_a=float(x.mean()),
        mean_b=float(y.mean()),
        difference=difference,
        lost=lost,
        won=won,
        mcnemar_p=sign_p,
        p=p,
        n_needed=None
        if few
        else _n_needed(d, binary=binary, margin=margin, level=level, verdict=verdict, design=design),
        verdict=verdict,
        margin=margin,
        level=level,
        n_clusters=n_clusters,
        clusters_needed=fewest_clusters(1 - level) if few else 0,
    )


def fewest_clusters(alpha: float) -> int:
    """Return the clusters with which the sign-flip test can reach p < alpha at all: 2 / 2^k, all of them one way."""
    return math.floor(math.log2(2 / alpha)) + 1


def _empty_comparison(margin: float, level: float) -> PairedComparison:
    return PairedComparison(
        n=0,
        mean_a=math.nan,
        mean_b=math.nan,
        difference=NOTHING,
        lost=0,
        won=0,
        mcnemar_p=1.0,
        p=1.0,
        n_needed=None,
        verdict="unknown",
        margin=margin,
        level=level,
    )


def difference_interval(a: Values, b: Values, level: float = 0.95) -> Interval:
    """Return mean(b - a) of a, b [n] with its t interval.

    Where 0s and 1s have no spread in their differences, the interval is Newcombe's for pairs. With one pair of scores
    the limits are infinite.
    """
    d = b - a
    n, mean = len(d), float(d.mean())
    if bool(np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all()) and (n < 2 or float(np.ptp(d)) == 0):
        return newcombe(a, b, level)
    if n < 2:
        return Interval(mean, -math.inf, math.inf, n)
    half = student_t_ppf(n - 1, 0.5 + level / 2) * float(d.std(ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def cluster_interval(a: Values, b: Values, clusters: Sequence[object], level: float, seed: int) -> Interval:
    """Return mean(b - a) of a, b [n] by bootstrap over clusters [n].

    Where all differences are equal, the bootstrap has no width: the interval is then the interval of one pair per
    cluster.
    """
    if float(np.ptp(b - a)) > 0:
        resampled = bootstrap(b - a, clusters, level, seed=seed)
        if resampled.high > resampled.low:
            return resampled
        plain = difference_interval(a, b, level)  # all clusters have one mean: their bootstrap has no width
        return Interval(plain.mean, plain.low, plain.high, resampled.n)
    first = list({cluster: i for i, cluster in reversed(list(enumerate(clusters)))}.values())
    return difference_interval(a[first], b[first], level)


def newcombe(a: Values, b: Values, level: float = 0.95) -> Interval:
    """Return mean(b - a) of 0s and 1s [n] with Newcombe's score interval for pairs."""
    both, only_b = int(((a == 1) & (b == 1)).sum()), int(((a == 0) & (b == 1)).sum())
    only_a = int(((a == 1) & (b == 0)).sum())
    return difference_paired(both, only_b, only_a, len(a) - both - only_a - only_b, level)


def lower_bound(a: ArrayLike, b: ArrayLike, alpha: float = 0.05, clusters: Sequence[object] | None = None) -> float:
    """Return the one-sided 1 - alpha lower limit of mean(b - a) over a, b [n]. "Not worse by m" is shown where the
    limit is above -m.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if clusters is not None:
        return cluster_interval(x, y, clusters, 1 - 2 * alpha, 0).low
    return difference_interval(x, y, 1 - 2 * alpha).low


def _t_test(d: Values) -> float:
    """Return the two-sided p of the paired t test."""
    n = len(d)
    if n < 2 or float(np.ptp(d)) == 0:
        return 1.0 if n < 2 or d[0] == 0 else mcnemar(0, n)
    t = float(d.mean()) / (float(d.std(ddof=1)) / math.sqrt(n))
    return 2 * student_t_cdf(n - 1, -abs(t))


def _cluster_test(d: Values, clusters: Sequence[object], seed: int) -> float:
    sums: dict[object, float] = {}
    for value, cluster in zip(d, clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + float(value)
    return permutation_test(list(sums.values()), [0.0] * len(sums), seed=seed)


def _verdict(
    a: Values,
    b: Values,
    *,
    binary: bool,
    difference: Interval,
    p: float,
    margin: float,
    level: float,
    clusters: Sequence[object] | None,
    seed: int,
) -> str:
    alpha = 1 - level
    if p < alpha:
        return "better" if difference.mean > 0 else "worse"
    if len(a) < 2:
        return "unknown"
    if clusters is not None:
        inner = cluster_interval(a, b, clusters, 1 - 2 * alpha, seed)
        return "same" if -margin < inner.low and inner.high < margin else "unknown"
    if not tost(b - a, margin, alpha).equivalent:
        return "unknown"
    if binary:
        score = newcombe(a, b, 1 - 2 * alpha)
        return "same" if -margin < score.low and score.high < margin else "unknown"
    return "same"


def _n_needed(d: Values, *, binary: bool, margin: float, level: float, verdict: str, design: float) -> int | None:
    """Return the pairs that find the same difference with power 0.8 or, if fewer, show the difference to be within the
    margin.

    `design`: how many times more pairs clusters cost than independent items.
    """
    n, mean = len(d), float(d.mean())
    if n < 2:
        return None
    needed: list[int] = []
    if mean != 0:
        if binary:
            needed.append(pairs_needed(float((d > 0).mean()), float((d < 0).mean()), POWER, level))
        elif float(d.std(ddof=1)) > 0:
            z = normal_quantile(level) + normal_ppf(POWER)
            needed.append(math.ceil((z * float(d.std(ddof=1)) / mean) ** 2))
    if verdict in ("same", "unknown"):
        spread = float(d.var(ddof=1)) + mean * mean
        if spread == 0:  # no pair was decided: take the share that one more pair would have shown
            spread = 1.0 / (n + 1)
        same = pairs_for_equivalence(spread, margin, POWER, 1 - level)
        if verdict == "same" or same > n:
            needed.append(same)
    if not needed:
        return None
    needed_pairs = math.ceil(min(needed) * design)
    if verdict != "unknown":
        return needed_pairs
    decided = max(float((d != 0).mean()), 1 / n)
    return max(needed_pairs, n + 1, math.ceil(FEWEST_DECIDED / decided))


FEWEST_DECIDED = 6  # pairs that all go one way: with five the exact test's p is still .0625
