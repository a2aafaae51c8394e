"""Two conditions on the same items: win rates, differences, McNemar, permutation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kaiwa.core.errors import UserError
from kaiwa.stats.intervals import Interval, bootstrap
from kaiwa.stats.shares import share

EXACT_UP_TO = 16  # pairs; 2^16 sign patterns are enumerated, more are sampled


@dataclass(frozen=True, slots=True)
class WinRate:
    """`all`: ties count half. `decided`: pairs with a winner only."""

    all: Interval
    decided: Interval
    wins: int
    ties: int
    losses: int

    def to_json(self) -> dict[str, object]:
        counts = {"wins": self.wins, "ties": self.ties, "losses": self.losses}
        return {"all": self.all.to_json(), "decided": self.decided.to_json(), **counts}


def win_rate(a: ArrayLike, b: ArrayLike, clusters: Sequence[object] | None = None, level: float = 0.95) -> WinRate:
    """Return how often a scores above b on the same items; a, b: [n], clusters: [n] ids.

    Without clusters the intervals are Wilson's (a half for each tie makes them slightly too wide); with clusters the
    intervals are `clustered_share`'s.
    """
    x, y = _pair(a, b)
    sign = np.sign(x - y).astype(np.int64)
    wins, losses = int((sign > 0).sum()), int((sign < 0).sum())
    ties = len(sign) - wins - losses
    keep = np.flatnonzero(sign).tolist()
    all_ = share((sign + 1) / 2, clusters, level)
    decided = share((sign[keep] + 1) / 2, None if clusters is None else [clusters[i] for i in keep], level)
    return WinRate(all_, decided, wins, ties, losses)


def mean_difference(
    a: ArrayLike, b: ArrayLike, clusters: Sequence[object] | None = None, level: float = 0.95, seed: int = 0
) -> Interval:
    """Return the mean of a - b over the same items, a, b [n], with its (clustered) bootstrap interval."""
    x, y = _pair(a, b)
    return bootstrap(x - y, clusters, level, seed=seed)


def mcnemar(first: int, second: int) -> float:
    """Return the exact two-sided McNemar p of `first` items right only under one condition, `second` only under the
    other.

    Under no difference first ~ Binomial(first + second, 1/2); p is twice the smaller tail, at most 1. UserError for a
    count below 0.
    """
    if first < 0 or second < 0:
        raise UserError(f"counts {first} and {second}: neither may be below 0")
    n = first + second
    tail = sum(math.comb(n, k) for k in range(min(first, second) + 1))
    return min(1.0, 2 * tail / (1 << n))


def permutation_test(a: ArrayLike, b: ArrayLike, resamples: int = 10_000, seed: int = 0) -> float:
    """Return the two-sided p of the mean difference of a, b [n] by flipping the signs of pairs (Fisher 1935).

    Exact up to 16 pairs. Sampled p-values are (1 + hits) / (1 + resamples), never 0 (Phipson & Smyth 2010). 1.0 for no
    pairs.
    """
    x, y = _pair(a, b)
    d = x - y
    n = len(d)
    if n == 0:
        return 1.0
    observed = abs(d.sum()) * (1 - 1e-12)  # sums of the same numbers in another order are equal
    if n <= EXACT_UP_TO:
        patterns = (np.arange(1 << n)[:, None] >> np.arange(n)) & 1
        return int((np.abs((1 - 2 * patterns) @ d) >= observed).sum()) / len(patterns)
    rng = np.random.default_rng(seed)
    hits = 0
    for start in range(0, resamples, 1000):
        signs = 1 - 2 * rng.integers(0, 2, size=(min(1000, resamples - start), n))
        hits += int((np.abs(signs @ d) >= observed).sum())
    return (1 + hits) / (1 + resamples)


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise UserError(f"pairs: {x.shape} values against {y.shape}; both must be lists of the same items")
    return x, y
