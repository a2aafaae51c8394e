"""Tests, equivalence, power and adjustment against scipy and hand-worked cases."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from kaiwa.core.errors import UserError
from kaiwa.stats.equivalence import tost
from kaiwa.stats.multiple import benjamini_hochberg, holm
from kaiwa.stats.paired import mcnemar, mean_difference, permutation_test, win_rate
from kaiwa.stats.power import pairs_needed, power_of_pairs, smallest_difference


def test_win_rate_counts_ties_as_half() -> None:
    rate = win_rate([3, 2, 1, 0, 5], [1, 2, 2, 0, 0])
    assert (rate.wins, rate.ties, rate.losses) == (2, 2, 1)
    assert rate.all.mean == pytest.approx(0.6)
    assert rate.decided.mean == pytest.approx(2 / 3)
    assert rate.decided.n == 3
    assert rate.to_json()["decided"]["n"] == 3  # type: ignore[index]


def test_win_rate_by_clusters() -> None:
    a, b = [1.0] * 50 + [0.0] * 50, [0.5] * 100
    clusters = ["x"] * 50 + ["y"] * 50
    rate = win_rate(a, b, clusters)
    assert rate.all.n == 2
    assert rate.all.low < 0.1


@given(st.integers(0, 30), st.integers(0, 30))
def test_mcnemar_is_the_binomial_test(first: int, second: int) -> None:
    theirs = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(theirs)


def test_permutation_enumerates_few_pairs() -> None:
    a, b = np.array([3.0, 5, 4, 8, 1]), np.array([2.0, 3, 5, 4, 0])
    d = a - b
    means = [abs(sum(s * x for s, x in zip(signs, d, strict=True))) for signs in itertools.product((1, -1), repeat=5)]
    assert permutation_test(a, b) == pytest.approx(np.mean([m >= abs(d.sum()) - 1e-9 for m in means]))


def test_permutation_samples_many_pairs() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(0.3, 1, 100)
    t = stats.ttest_1samp(a, 0).pvalue
    assert permutation_test(a, np.zeros(100), resamples=20_000) == pytest.approx(t, abs=0.01)
    assert permutation_test(a + 9, np.zeros(100), resamples=999) == 0.001
    assert permutation_test([], []) == 1.0


def test_mean_difference_needs_pairs() -> None:
    assert mean_difference([1, 2, 3], [0, 1, 2]).mean == 1
    with pytest.raises(UserError, match="same items"):
        mean_difference([1, 2], [1])


def test_tost_agrees_with_two_t_tests() -> None:
    d = np.random.default_rng(0).normal(0.02, 0.3, 80)
    result = tost(d, 0.1)
    lower = stats.ttest_1samp(d, -0.1, alternative="greater").pvalue
    upper = stats.ttest_1samp(d, 0.1, alternative="less").pvalue
    assert result.p == pytest.approx(max(lower, upper))
    assert result.equivalent == (result.interval.low > -0.1 and result.interval.high < 0.1)
    assert tost(np.zeros(5), 0.1).equivalent
    assert not tost(np.ones(5), 0.1).equivalent
    with pytest.raises(UserError, match="margin"):
        tost(d, 0)


def test_pairs_needed_worked_by_hand() -> None:
    # p10 = .2, p01 = .1: (1.95996·√.3 + .84162·√.29)² / .01 = 233.2
    assert pairs_needed(0.2, 0.1) == 234
    assert power_of_pairs(234, 0.2, 0.1) == pytest.approx(0.8, abs=0.005)
    d = smallest_difference(234, 0.3)
    assert d == pytest.approx(0.1, abs=0.001)
    with pytest.raises(UserError, match="no difference"):
        pairs_needed(0.1, 0.1)


def test_power_matches_simulation() -> None:
    rng = np.random.default_rng(0)
    counts = rng.multinomial(234, [0.2, 0.1, 0.7], size=3000)
    z = np.abs(counts[:, 0] - counts[:, 1]) / np.sqrt(counts[:, 0] + counts[:, 1])
    assert (z > 1.96).mean() == pytest.approx(0.8, abs=0.03)


def test_holm_worked_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_benjamini_hochberg_is_scipys(p: list[float]) -> None:
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p))


def test_p_values_are_checked() -> None:
    with pytest.raises(UserError, match="between 0 and 1"):
        holm([1.2])
