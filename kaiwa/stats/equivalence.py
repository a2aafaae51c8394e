"""Equivalence: "no difference found" is not "no difference"; two one-sided tests say the latter (Schuirmann 1987)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kaiwa.core.errors import UserError
from kaiwa.stats.distributions import student_t_cdf, student_t_ppf
from kaiwa.stats.intervals import Interval


@dataclass(frozen=True, slots=True)
class Equivalence:
    """`p` is the larger of the two one-sided tests' p; `interval` is the mean difference at level 1 - 2·alpha."""

    equivalent: bool
    p: float
    margin: float
    interval: Interval


def tost(differences: ArrayLike, margin: float, alpha: float = 0.05) -> Equivalence:
    """Test whether the mean of paired differences [n] lies within ±margin, by two one-sided t tests.

    The means are equivalent exactly if the (1 - 2·alpha) interval of the mean lies within the margin. UserError below 2
    pairs, and for a margin or alpha out of range.
    """
    d = np.asarray(differences, dtype=np.float64)
    if margin <= 0:
        raise UserError(f"margin: {margin} must be above 0; it is the difference that would not matter")
    if not 0 < alpha < 0.5:
        raise UserError(f"alpha: {alpha} must be above 0 and below 0.5; 0.05 is usual")
    n = len(d)
    if n < 2:
        raise UserError(f"equivalence needs at least 2 pairs, got {n}")
    mean = float(d.mean())
    error = float(d.std(ddof=1)) / math.sqrt(n)
    if error == 0:
        p = 0.0 if abs(mean) < margin else 1.0
    else:
        above = student_t_cdf(n - 1, -(mean + margin) / error)  # against mean <= -margin
        below = student_t_cdf(n - 1, (mean - margin) / error)  # against mean >= margin
        p = max(above, below)
    half = student_t_ppf(n - 1, 1 - alpha) * error
    return Equivalence(p < alpha, p, margin, Interval(mean, mean - half, mean + half, n))
