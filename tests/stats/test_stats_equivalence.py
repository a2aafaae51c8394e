"""Two one-sided tests: "no difference found" is not "no difference"."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.core.errors import UserError
from kaiwa.stats.equivalence import tost


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=40), st.floats(0.01, 0.5), st.floats(0.01, 0.2))
def test_equivalent_exactly_if_the_interval_is_within_the_margin(
    differences: list[float], margin: float, alpha: float
) -> None:
    if float(np.std(differences)) < 1e-6:
        return
    found = tost(differences, margin, alpha)
    gap = min(found.interval.low + margin, margin - found.interval.high)
    if abs(gap) > 1e-9:
        assert found.equivalent == (gap > 0)
    assert found.margin == margin


def test_few_pairs_show_nothing() -> None:
    differences = [0.0, 0.2, -0.2]
    assert not tost(differences, 0.1).equivalent
    assert tost(differences * 40, 0.1).equivalent


def test_a_difference_may_be_sure_and_still_not_matter() -> None:
    """.02 ± .004 differs from 0 and lies well within .05."""
    differences = np.random.default_rng(0).normal(0.02, 0.02, 100)
    found = tost(differences, 0.05)
    assert found.equivalent
    assert found.interval.low > 0


def test_p_is_the_worse_of_the_two() -> None:
    differences = np.random.default_rng(0).normal(0.05, 0.1, 30)
    assert tost(differences, 0.1).p == pytest.approx(tost(-differences, 0.1).p)
    assert tost(differences, 0.05).p > tost(differences, 0.1).p
    assert tost(differences, 0.001).p > 0.5, "the mean lies outside the margin"


def test_differences_without_spread() -> None:
    assert tost([0.05] * 4, 0.1).p == 0.0
    assert tost([0.25] * 4, 0.1).p == 1.0
    assert tost([0.25] * 4, 0.25).p == 1.0, "the margin itself is not within it"


@pytest.mark.parametrize(
    ("differences", "margin", "alpha", "match"),
    [
        ([0.0, 0.1], 0.0, 0.05, "margin"),
        ([0.0, 0.1], -1.0, 0.05, "margin"),
        ([0.0, 0.1], 0.1, 0.5, "alpha"),
        ([0.0, 0.1], 0.1, 0.0, "alpha"),
        ([0.1], 0.1, 0.05, "at least 2 pairs, got 1"),
    ],
)
def test_bad_arguments(differences: list[float], margin: float, alpha: float, match: str) -> None:
    with pytest.raises(UserError, match=match):
        tost(differences, margin, alpha)
