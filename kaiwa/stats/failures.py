"""Items that failed under either condition: no pair, and no licence either.

A verdict over the pairs that are left may be an effect of what failed (the long items of one arm only). So the failed
items are counted against it: as lost for "better", as won for "worse", as each in turn for "same". A verdict that does
not survive this is withheld ("failed").
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from kaiwa.stats.comparison import PairedComparison, compare


def withhold_for_failures(
    comparison: PairedComparison,
    a: ArrayLike,
    b: ArrayLike,
    n_failed: int,
    *,
    clusters: Sequence[object] | None = None,
) -> PairedComparison:
    """Return the comparison of a, b [n] with the count of failed items, and verdict "failed" where its verdict does not
    hold with them counted against it. clusters: [n] ids.
    """
    counted = dataclasses.replace(comparison, n_failed=n_failed)
    if not n_failed or comparison.verdict not in ("better", "worse", "same"):
        return counted
    for b_loses in {"better": (True,), "worse": (False,), "same": (True, False)}[comparison.verdict]:
        x, y, ids = add_failures(a, b, n_failed, b_loses=b_loses, clusters=clusters)
        against = compare(x, y, clusters=ids, margin=comparison.margin, level=comparison.level)
        if against.verdict != comparison.verdict:
            return dataclasses.replace(counted, verdict="failed", n_needed=None)
    return counted


def add_failures(
    a: ArrayLike, b: ArrayLike, n_failed: int, *, b_loses: bool, clusters: Sequence[object] | None = None
) -> tuple[list[float], list[float], list[object] | None]:
    """Return scores a, b [n + n_failed] and clusters with the failed items as lost (or won) by b, from 0 to 1 or as far
    as the scores go.
    """
    x, y = [float(v) for v in np.asarray(a, float)], [float(v) for v in np.asarray(b, float)]
    low, high = min([0.0, *x, *y]), max([1.0, *x, *y])
    worse, better = [low] * n_failed, [high] * n_failed
    ids = None if clusters is None else [*clusters, *(("failed", i) for i in range(n_failed))]
    return x + (better if b_loses else worse), y + (worse if b_loses else better), ids
