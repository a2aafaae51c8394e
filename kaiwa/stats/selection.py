"""The winner's curse: the best of many candidates looks better than its true value, since the choice favours luck.

The optimism is estimated by the bootstrap (Efron & Gong 1983): choose the winner in each resample of the items, as in
the data, and measure how much better the winner looks in the resample than in the data. A new sample is expected to
look worse by the same amount.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kaiwa.core.errors import UserError


@dataclass(frozen=True, slots=True)
class Winner:
    """The best row's `index`, its `observed` mean, and the `optimism` of having chosen the row for its mean."""

    index: int
    observed: float
    optimism: float

    @property
    def shrunk(self) -> float:
        return self.observed - self.optimism


def shrink_winner(scores: ArrayLike, resamples: int = 2000, seed: int = 0) -> Winner:
    """Choose the best row of scores [candidate, item], the same items for all, and estimate the winner's optimism.

    The first of equals wins. UserError for a table without rows or columns.
    """
    x = np.asarray(scores, dtype=np.float64)
    if x.ndim != 2 or 0 in x.shape:
        raise UserError(f"scores {x.shape}: a table of candidates by items is needed, with at least one of each")
    means = x.mean(axis=1)
    best = int(means.argmax())
    rng = np.random.default_rng(seed)
    gaps = np.empty(resamples)
    for i in range(resamples):
        drawn = x[:, rng.integers(0, x.shape[1], x.shape[1])].mean(axis=1)
        chosen = int(drawn.argmax())
        gaps[i] = drawn[chosen] - means[chosen]
    return Winner(best, float(means[best]), max(0.0, float(gaps.mean())))
