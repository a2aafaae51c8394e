"""Adjusted p-values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.core.errors import UserError
from kaiwa.stats.multiple import benjamini_hochberg, holm

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=20)


@given(P_VALUES)
def test_holm_rejects_what_its_definition_rejects(p: list[float]) -> None:
    """Step down: reject the i-th smallest of m while it is at most alpha / (m - i)."""
    alpha = 0.05
    rejected: set[int] = set()
    for i, index in enumerate(np.argsort(p, kind="stable").tolist()):
        if p[index] > alpha / (len(p) - i):
            break
        rejected.add(index)
    near = {i for i, q in enumerate(holm(p)) if abs(q - alpha) < 1e-12}
    assert {i for i, q in enumerate(holm(p)) if q <= alpha} - near == rejected - near


@given(P_VALUES)
def test_adjusted_values_keep_the_order_and_holm_is_the_stricter(p: list[float]) -> None:
    strict, lenient = holm(p), benjamini_hochberg(p)
    assert (strict >= lenient - 1e-12).all()
    assert (lenient >= np.array(p) - 1e-12).all()
    assert (strict <= 1).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(strict[order]) >= -1e-12).all()
    assert (np.diff(lenient[order]) >= -1e-12).all()


def test_one_test_is_not_adjusted() -> None:
    assert holm([0.03]) == benjamini_hochberg([0.03]) == [0.03]


def test_no_tests_are_no_values() -> None:
    assert len(holm([])) == len(benjamini_hochberg([])) == 0


def test_false_alarms_among_many_tests_stay_rare() -> None:
    """Twenty true nulls: unadjusted, 64 % of tables have a false alarm."""
    rng = np.random.default_rng(0)
    tables = rng.random((1000, 20))
    assert np.mean([(holm(table) < 0.05).any() for table in tables]) == pytest.approx(0.05, abs=0.02)
    assert np.mean((tables < 0.05).any(axis=1)) > 0.6


@pytest.mark.parametrize("values", [[0.1, -0.1], [0.1, 1.1], [0.1, float("nan")], [[0.1, 0.2]], 0.5])
@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_what_is_no_list_of_p_values(adjust: object, values: object) -> None:
    with pytest.raises(UserError, match="between 0 and 1"):
        adjust(values)  # type: ignore[operator]
