"""Many tests at once: adjusted p-values. Compare each adjusted p with alpha as for a single test."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kaiwa.core.errors import UserError


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values [m] by Holm's step-down (1979): the chance of any false alarm among all tests stays at alpha.

    Returns [m] in the same order. UserError for anything but a list of numbers between 0 and 1.
    """
    values = _check(p)
    order = np.argsort(values, kind="stable")
    m = len(values)
    stepped = np.maximum.accumulate(values[order] * (m - np.arange(m)))
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def benjamini_hochberg(p: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values [m] by Benjamini & Hochberg's step-up (1995): the expected share of false alarms among alarms
    stays at alpha.

    Returns [m] in the same order. UserError for anything but a list of numbers between 0 and 1.
    """
    values = _check(p)
    order = np.argsort(values, kind="stable")
    m = len(values)
    scaled = values[order] * m / np.arange(1, m + 1)
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted


def _check(p: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(p, dtype=np.float64)
    if values.ndim != 1 or bool(((values < 0) | (values > 1) | np.isnan(values)).any()):
        raise UserError("p-values must be a list of numbers between 0 and 1")
    return values
