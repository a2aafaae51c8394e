"""Shares of clustered trials, and shares as told by an imperfect judge."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.core.errors import UserError
from kaiwa.stats.intervals import Interval, wilson
from kaiwa.stats.shares import clustered_share, corrected_share


def width(interval: Interval) -> float:
    return interval.high - interval.low


def corrected(called: float, n: int, positives: Sequence[int], negatives: Sequence[int]) -> Interval:
    """Each of `positives` and `negatives` is (right, labelled)."""
    return corrected_share(
        called, n, true_positives=positives[0], bad=positives[1], true_negatives=negatives[0], good=negatives[1]
    )


def test_a_clustered_share_is_that_of_all_trials() -> None:
    found = clustered_share([1, 9], [10, 10])
    assert found.mean == 0.5
    assert found.n == 2
    assert clustered_share([1, 0, 4], [2, 0, 8]).mean == 0.5
    assert clustered_share([1, 0, 4], [2, 0, 8]).n == 2, "a cluster without trials is none"


def test_one_cluster_says_nothing_of_others() -> None:
    assert clustered_share([30], [40]) == Interval(0.75, 0.0, 1.0, 1)
    assert clustered_share([], []).n == clustered_share([0.0], [0]).n == 0
    assert math.isnan(clustered_share([], []).mean)


def test_clusters_that_agree_are_worth_one_trial_each() -> None:
    """Ten clusters, each all or nothing: as wide as ten trials, however large the clusters are."""
    few, many = clustered_share([2, 0] * 5, [2] * 10), clustered_share([200, 0] * 5, [200] * 10)
    assert width(few) == pytest.approx(width(many), rel=0.01)
    assert width(wilson(5, 10)) < width(many) < 1.3 * width(wilson(5, 10))


def test_clusters_that_do_not_matter_cost_little() -> None:
    """Forty clusters of 20 with equal shares: nearly Wilson's interval of all 800 trials, never a narrower one."""
    found = clustered_share([6] * 40, [20] * 40)
    assert width(wilson(240, 800)) <= width(found) < 1.6 * width(wilson(240, 800))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=2, max_size=12))
def test_successes_and_failures_are_mirrored(rows: list[tuple[int, int]]) -> None:
    trials = [n for _, n in rows]
    won = [min(x, n) for x, n in rows]
    yes, no = clustered_share(won, trials), clustered_share([n - x for x, n in zip(won, trials, strict=True)], trials)
    assert yes.mean == pytest.approx(1 - no.mean)
    assert yes.low == pytest.approx(1 - no.high, abs=1e-9)
    assert 0 <= yes.low <= yes.mean <= yes.high <= 1


def test_a_clustered_share_worked_by_hand() -> None:
    """1 and 4 of 4 each, with a quarter of a cluster at either end: 6 of 10, squares 1.4² + 1.6² + 4·(.16 + .36) = 6.6.

    Variance 2.5 / 1.5 · 6.6 / 10² = .11; effective trials .6 · .4 / .11 · (z / t₁)²; the limits solve Wilson's.
    """
    found = clustered_share([1, 4], [4, 4])
    z, t = 1.959964, 12.706205
    n = 0.24 / 0.11 * (z / t) ** 2
    for limit in (found.low, found.high):
        assert (0.625 - limit) ** 2 == pytest.approx(z * z * limit * (1 - limit) / n, rel=1e-4)


def test_clustered_intervals_cover() -> None:
    """Fifteen clusters of 20 trials, shares Beta(1, 3): the truth is .25."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        found = clustered_share(rng.binomial(20, rng.beta(1, 3, 15)).tolist(), [20] * 15)
        held += found.low <= 0.25 <= found.high
    assert 0.92 <= held / 300 <= 0.995


def test_clusters_come_in_pairs_of_numbers() -> None:
    with pytest.raises(UserError, match="2 successes for 1 trials"):
        clustered_share([1, 2], [3])


def test_a_judges_share_is_corrected_for_its_errors() -> None:
    """Rogan and Gladen: (.3 + .8 - 1) / (.9 + .8 - 1) = 1/7."""
    found = corrected(30, 100, (90, 100), (80, 100))
    assert found.mean == pytest.approx(1 / 7)
    assert found.low < 1 / 7 < found.high
    assert found.n == 100


def test_limits_of_a_corrected_share_worked_by_hand() -> None:
    """Lang and Reiczigel: q' = 31.92 / 103.84 = .3074, a' = 91 / 102, b' = 81 / 102, J' = .6863, p' = .1479;
    shift -.0094, half .1624: the limits are below 0 and .3009."""
    found = corrected(30, 100, (90, 100), (80, 100))
    assert found.low == 0.0
    assert found.high == pytest.approx(0.3009, abs=1e-4)


def test_a_corrected_share_stays_a_share() -> None:
    assert corrected(10, 100, (90, 100), (80, 100)).mean == 0.0, "fewer than false alarms alone"
    assert corrected(95, 100, (90, 100), (80, 100)).mean == 1.0


def test_more_labels_make_a_surer_share_and_a_perfect_judge_the_plain_one() -> None:
    few, many = corrected(30, 100, (9, 10), (8, 10)), corrected(30, 100, (900, 1000), (800, 1000))
    assert width(few) > 1.5 * width(many)
    sure = corrected(30, 100, (100_000, 100_000), (100_000, 100_000))
    assert sure.mean == pytest.approx(0.3)
    assert sure.low == pytest.approx(wilson(30, 100).low, abs=0.01)
    assert sure.high == pytest.approx(wilson(30, 100).high, abs=0.01)


def test_corrected_intervals_cover() -> None:
    """200 cases, 30 % of them bad, a judge of .85 and .9 that was measured on 60 cases of each kind."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        bad = rng.binomial(200, 0.3)
        called = rng.binomial(bad, 0.85) + rng.binomial(200 - bad, 0.1)
        found = corrected(int(called), 200, (int(rng.binomial(60, 0.85)), 60), (int(rng.binomial(60, 0.9)), 60))
        held += found.low <= 0.3 <= found.high
    assert 0.92 <= held / 400 <= 0.99


def test_a_judge_hardly_better_than_a_coin_leaves_everything_open() -> None:
    """Two of three and one of two are above chance; with the two added labels they are .6 and .5."""
    found = corrected(3, 10, (2, 3), (1, 2))
    assert (found.low, found.high) == (0.0, 1.0)


@pytest.mark.parametrize(("positives", "negatives"), [((5, 10), (5, 10)), ((1, 10), (9, 10)), ((0, 10), (2, 10))])
def test_a_coin_is_no_judge(positives: tuple[int, int], negatives: tuple[int, int]) -> None:
    with pytest.raises(UserError, match="no better than chance"):
        corrected(3, 10, positives, negatives)


@pytest.mark.parametrize(
    ("called", "n", "positives", "negatives"),
    [(11, 10, (9, 10), (9, 10)), (-1, 10, (9, 10), (9, 10)), (3, 10, (11, 10), (9, 10)), (3, 10, (9, 10), (1, 0))],
)
def test_impossible_counts(called: int, n: int, positives: tuple[int, int], negatives: tuple[int, int]) -> None:
    with pytest.raises(UserError, match="impossible"):
        corrected(called, n, positives, negatives)


def test_nothing_called_of_nothing() -> None:
    assert corrected(0, 0, (9, 10), (9, 10)).n == 0
