import math

import numpy as np
import pytest
from scipy import stats

from kaiwa.core.errors import UserError
from kaiwa.stats.intervals import (
    bootstrap,
    difference_independent,
    difference_paired,
    normal_quantile,
    wilson,
)
from kaiwa.stats.shares import share


@pytest.mark.parametrize(("x", "n"), [(0, 10), (3, 10), (10, 10), (81, 263), (1, 1)])
def test_wilson_is_scipys(x: int, n: int) -> None:
    ours = wilson(x, n)
    theirs = stats.binomtest(x, n).proportion_ci(method="wilson")
    assert ours.low == pytest.approx(theirs.low, abs=1e-9)
    assert ours.high == pytest.approx(theirs.high, abs=1e-9)


def test_wilson_worked_by_hand() -> None:
    # Newcombe 1998a: 81 of 263 gives .2553 to .3662
    interval = wilson(81, 263)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.2553, 0.3662)


def test_nothing_is_null_in_json() -> None:
    assert wilson(0, 0).to_json() == {"mean": None, "low": None, "high": None, "n": 0}
    assert bootstrap([]).to_json()["mean"] is None


def test_paired_difference_worked_by_hand() -> None:
    # Newcombe 1998c, table II, (36, 12, 2, 0) by method 10: .0569 to .3404
    interval = difference_paired(36, 12, 2, 0)
    assert interval.mean == pytest.approx(0.2)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.0569, 0.3404)


def test_independent_difference_worked_by_hand() -> None:
    # Newcombe 1998b, 56/70 - 48/80 by method 10: .0524 to .3339
    interval = difference_independent(56, 70, 48, 80)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.0524, 0.3339)


def test_bootstrap_is_near_the_t_interval_and_seeded() -> None:
    x = np.random.default_rng(1).normal(2, 1, 200)
    ours = bootstrap(x, seed=3)
    half = 1.96 * x.std(ddof=1) / math.sqrt(len(x))
    assert ours.mean == pytest.approx(x.mean())
    assert ours.low == pytest.approx(x.mean() - half, abs=0.02)
    assert bootstrap(x, seed=3) == ours


def test_clusters_are_the_units() -> None:
    x = np.repeat(np.random.default_rng(1).normal(0, 1, 30), 20)
    clusters = [i // 20 for i in range(600)]
    wide, narrow = bootstrap(x, clusters), bootstrap(x)
    assert wide.n == 30
    assert narrow.n == 600
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)
    one = bootstrap(x, ["a"] * 600)
    assert one.low == -math.inf


def test_bad_arguments_say_what_is_wrong() -> None:
    with pytest.raises(UserError, match="5 of 3"):
        wilson(5, 3)
    with pytest.raises(UserError, match="level"):
        normal_quantile(95)
    with pytest.raises(UserError, match="1 ids for 2"):
        bootstrap([1, 2], ["a"])


def test_wilson_covers() -> None:
    """For shares over the whole range the 95 % interval holds the truth in about 95 % of samples (exact sums)."""
    n = 40
    intervals = [wilson(x, n) for x in range(n + 1)]
    coverage = []
    for p in np.linspace(0.05, 0.95, 91):
        weights = stats.binom.pmf(np.arange(n + 1), n, p)
        coverage.append(sum(w for w, i in zip(weights, intervals, strict=True) if i.low <= p <= i.high))
    assert np.mean(coverage) == pytest.approx(0.95, abs=0.01)
    assert min(coverage) > 0.89


def test_bootstrap_covers() -> None:
    """Skewed values in clusters of different sizes: the truth is inside in 93 to 97 % of 400 samples."""
    rng = np.random.default_rng(0)
    inside = 0
    for trial in range(400):
        sizes = rng.integers(1, 6, 60)
        cluster = np.repeat(np.arange(60), sizes)
        x = np.repeat(rng.exponential(1, 60), sizes) + rng.normal(0, 0.5, len(cluster))
        interval = bootstrap(x, cluster.tolist(), resamples=600, seed=trial)
        inside += interval.low <= 1.0 <= interval.high
    assert 0.91 <= inside / 400 <= 0.98


def test_a_share_stays_between_0_and_1() -> None:
    values, clusters = [1.0, 1.0, 1.0, 0.0, 1.0, 1.0], ["a", "a", "b", "b", "c", "c"]
    found = share(values, clusters)
    assert bootstrap(values, clusters).high > 1 >= found.high
    assert 0 <= found.low <= found.mean


def test_shares_of_zero_and_of_all_have_a_width() -> None:
    # Newcombe 1998a: Wilson's limits of 0 of 7 reach .35; the percentile bootstrap gives [0, 0]
    assert (share([0.0] * 7).low, round(share([0.0] * 7).high, 2)) == (0.0, 0.35)
    assert share([0.0] * 7, list("abcdefg")) == share([0.0] * 7)
    people = [i // 2 for i in range(14)]
    assert 0.35 < share([0.0] * 14, people).high < 0.6
    assert share([1.0] * 14, people).low == pytest.approx(1 - share([0.0] * 14, people).high)
    assert share([], []).n == 0
