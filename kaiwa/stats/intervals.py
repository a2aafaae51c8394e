"""Intervals: Wilson for a share, Newcombe for a difference of shares, bootstrap for a mean, clustered or not.

Every figure that kaiwa reports is an Interval. Nothing here depends on the measured quantity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kaiwa.core.errors import UserError
from kaiwa.stats.distributions import normal_ppf, student_t_ppf

CELLS = 1 << 22  # numbers held at once while resampling


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its confidence limits; `n` counts the independent units (clusters, if any)."""

    mean: float
    low: float
    high: float
    n: int

    def to_json(self) -> dict[str, float | int | None]:
        """Return plain JSON; a value that is not finite (a mean over nothing) is null."""
        values = {"mean": self.mean, "low": self.low, "high": self.high}
        return {**{k: v if math.isfinite(v) else None for k, v in values.items()}, "n": self.n}

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}] (n = {self.n})"


NOTHING = Interval(math.nan, math.nan, math.nan, 0)


def normal_quantile(level: float) -> float:
    """Return z with the central `level` of the normal distribution between -z and z (0.95: 1.96)."""
    if not 0 < level < 1:
        raise UserError(f"level: {level} must be between 0 and 1; 0.95 is usual")
    return normal_ppf(0.5 + level / 2)


def wilson(successes: float, n: int, level: float = 0.95) -> Interval:
    """Return the score interval of a share (Wilson 1927), right also at 0, at n and for small n, where p ± z·se is not.

    `successes` of `n` may be fractional (ties counted as half). NOTHING for n = 0. UserError for more successes than n.
    """
    if n < 0 or not 0 <= successes <= n:
        raise UserError(f"successes: {successes} of {n} is impossible")
    if n == 0:
        return NOTHING
    z = normal_quantile(level)
    p = successes / n
    denominator = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / denominator
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / denominator
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(p, low, high, n)


def difference_independent(x1: int, n1: int, x2: int, n2: int, level: float = 0.95) -> Interval:
    """Return p1 - p2 of two independent samples, x1 of n1 and x2 of n2: Newcombe's hybrid score interval (1998b, method
    10)."""
    one, two = wilson(x1, n1, level), wilson(x2, n2, level)
    d = one.mean - two.mean
    low = d - math.hypot(one.mean - one.low, two.high - two.mean)
    high = d + math.hypot(one.high - one.mean, two.mean - two.low)
    return Interval(d, low, high, min(n1, n2))


def difference_paired(both: int, first: int, second: int, neither: int, level: float = 0.95) -> Interval:
    """Return p1 - p2 where the same items were judged twice: Newcombe's score interval for pairs (1998c, method 10).

    both, first, second, neither: numbers of items right under both conditions, only the first, only the second, none.
    """
    n = both + first + second + neither
    if n == 0:
        return NOTHING
    one, two = wilson(both + first, n, level), wilson(both + second, n, level)
    d = (first - second) / n
    product = (both + first) * (second + neither) * (both + second) * (first + neither)
    phi = 0.0
    if product:
        numerator = float(both * neither - first * second)
        if numerator > 0:  # Edwards' continuity correction, as Newcombe has it
            numerator = max(numerator - n / 2, 0)
        phi = numerator / math.sqrt(product)
    l1, u1 = one.mean - one.low, one.high - one.mean
    l2, u2 = two.mean - two.low, two.high - two.mean
    low = d - math.sqrt(max(0.0, l1 * l1 - 2 * phi * l1 * u2 + u2 * u2))
    high = d + math.sqrt(max(0.0, u1 * u1 - 2 * phi * u1 * l2 + l2 * l2))
    return Interval(d, max(-1.0, low), min(1.0, high), n)


def bootstrap(
    values: ArrayLike,
    clusters: Sequence[object] | None = None,
    level: float = 0.95,
    resamples: int = 4000,
    seed: int = 0,
) -> Interval:
    """Return the mean of `values` [n] with its percentile bootstrap interval (Efron 1979).

    With `clusters` [n] (one id per value, such as the prompt or the villager) whole clusters are drawn, since values of
    one cluster are no independent evidence; n is then the number of clusters. For k units the limits are widened by
    √(k/(k-1)), the bootstrap's known bias, and by t_{k-1}/z, since the bootstrap takes the spread for known (Hesterberg
    2015, section 5). NOTHING for no values; infinite limits for one unit.
    """
    x = np.asarray(values, dtype=np.float64)
    sums, sizes = sums_by_cluster(x, clusters)
    k = len(sums)
    if k == 0:
        return NOTHING
    mean = float(x.mean())
    if k == 1:
        return Interval(mean, -math.inf, math.inf, 1)
    rng = np.random.default_rng(seed)
    means = []
    step = max(1, CELLS // k)
    for start in range(0, resamples, step):
        draws = rng.integers(0, k, size=(min(step, resamples - start), k))
        means.append(sums[draws].sum(axis=1) / sizes[draws].sum(axis=1))
    wider = math.sqrt(k / (k - 1)) * student_t_ppf(k - 1, 0.5 + level / 2) / normal_quantile(level)
    spread = (np.concatenate(means) - mean) * wider
    low, high = np.quantile(spread, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, mean + float(low), mean + float(high), k)


def sums_by_cluster(
    x: NDArray[np.float64], clusters: Sequence[object] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sum and the number of the values x [n] of each cluster, [k] each, in order of appearance."""
    if clusters is None:
        return x, np.ones_like(x)
    if len(clusters) != len(x):
        raise UserError(f"clusters: {len(clusters)} ids for {len(x)} values; give one each")
    number: dict[object, int] = {}
    index = np.array([number.setdefault(c, len(number)) for c in clusters], dtype=np.int64)
    k = len(number)
    sums = np.bincount(index, weights=x, minlength=k).astype(np.float64)
    return sums, np.bincount(index, minlength=k).astype(np.float64)
