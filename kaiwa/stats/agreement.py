"""Agreement of rankings, over all pairs of outputs that both rankings decide; the unit of an interval is the ranking.

Of K outputs ranked by two people each pair is decided by both, by one or by neither (ties). The agreement is

    Σ agreeing pairs / Σ pairs that neither ties          (Ouyang et al. 2022, 3.4: 72.6 ± 1.5 %)

summed over rankings. Pairs of one ranking are no independent evidence: the interval is of clustered shares
(stats/shares.py), one cluster a ranking.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kaiwa.core.errors import UserError
from kaiwa.stats.intervals import NOTHING, Interval, wilson
from kaiwa.stats.shares import clustered_share

Signs = NDArray[np.int8]


def pair_signs(ranks: ArrayLike) -> Signs:
    """Return the sign of every pair i < j of each ranking, [n, K(K-1)/2] from ranks [n, K]: 1 where i is better, 0 a
    tie.
    """
    x = np.asarray(ranks, dtype=np.int8)
    if x.ndim != 2:
        raise UserError(f"ranks have {x.ndim} dimensions; a list of rankings of the same number of outputs is expected")
    pairs = list(combinations(range(x.shape[1]), 2))
    first, second = [i for i, _ in pairs], [j for _, j in pairs]
    return np.asarray(np.sign(x[:, second] - x[:, first]), dtype=np.int8)


def agreeing_pairs(a: Signs, b: Signs) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many pairs of each ranking agree, and how many both decide, [n] each, from signs a, b [n, pairs]."""
    product = a * b
    return (product > 0).sum(axis=1), (product != 0).sum(axis=1)


def agreement(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Interval:
    """Return the agreement of two people (or of one and known ranks) over the same items, ranks a and b [n, K]."""
    agree, decided = agreeing_pairs(pair_signs(a), pair_signs(b))
    return clustered_share([float(x) for x in agree], [int(n) for n in decided], level)


def first_shown_share(ranks: ArrayLike, level: float = 0.95) -> Interval:
    """Return how often the output shown first is ranked best, from ranks in the shown order [n, K].

    A best place shared by m outputs counts 1/m for each, so that 1/K is expected of a labeller without position bias.
    """
    x = np.asarray(ranks)
    if len(x) == 0:
        return NOTHING
    best = x == x.min(axis=1, keepdims=True)
    return wilson(float((best[:, 0] / best.sum(axis=1)).sum()), len(x), level)


def longer_preferred_share(ranks: ArrayLike, lengths: ArrayLike, level: float = 0.95) -> Interval:
    """Return how often the longer of two outputs is preferred, over pairs that differ in length and are no tie.

    ranks, lengths: [n, K], lengths in characters. One cluster a ranking.
    """
    by_rank = pair_signs(ranks)
    x = np.asarray(lengths, dtype=np.int64).reshape(len(by_rank), -1)
    pairs = list(combinations(range(x.shape[1]), 2))
    by_length = np.sign(x[:, [i for i, _ in pairs]] - x[:, [j for _, j in pairs]]).astype(np.int8)
    agree, decided = agreeing_pairs(by_rank, by_length)
    return clustered_share([float(x) for x in agree], [int(n) for n in decided], level)
