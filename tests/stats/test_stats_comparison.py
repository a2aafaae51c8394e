"""compare() against textbook implementations written here and scipy, to 1e-9; power; the winner's curse."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kaiwa.core.errors import UserError
from kaiwa.stats.comparison import compare, fewest_clusters, lower_bound
from kaiwa.stats.power import pairs_by_gain, pairs_for_equivalence
from kaiwa.stats.selection import shrink_winner

pairs = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=2, max_size=80)
scores = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=40)


@given(pairs)
@settings(deadline=None)
def test_right_or_wrong_is_the_textbooks(rows: list[tuple[int, int]]) -> None:
    a, b = np.array(rows, dtype=float).T
    found = compare(a, b)
    won, lost = int(((a == 0) & (b == 1)).sum()), int(((a == 1) & (b == 0)).sum())
    assert (found.n, found.won, found.lost) == (len(a), won, lost)
    assert found.difference.mean == pytest.approx((won - lost) / len(a), abs=1e-9)
    p = stats.binomtest(won, won + lost).pvalue if won + lost else 1.0
    assert found.mcnemar_p == pytest.approx(p, abs=1e-9)
    if np.ptp(b - a) > 0:
        interval = stats.ttest_rel(b, a).confidence_interval(0.95)
        assert found.difference.low == pytest.approx(interval.low, abs=1e-9)
        assert found.difference.high == pytest.approx(interval.high, abs=1e-9)
    assert found.difference.low <= found.difference.mean <= found.difference.high


@given(scores)
@settings(deadline=None)
def test_scores_are_the_paired_t_test(rows: list[tuple[float, float]]) -> None:
    a, b = np.array(rows).T
    d = b - a
    if d.std() < 1e-6 or np.isin(np.concatenate((a, b)), (0, 1)).all():
        return
    found = compare(a, b)
    theirs = stats.ttest_rel(b, a)
    assert found.p == pytest.approx(theirs.pvalue, abs=1e-9)
    assert found.difference.low == pytest.approx(theirs.confidence_interval(0.95).low, abs=1e-9)
    assert lower_bound(a, b) == pytest.approx(theirs.confidence_interval(0.90).low, abs=1e-9)


def test_no_decided_pair_is_no_certainty() -> None:
    """20 equal items do not show equality within 3 points; 1,000 do."""
    few, many = compare([1] * 20, [1] * 20), compare([1, 0] * 500, [1, 0] * 500)
    assert few.verdict == "unknown"
    assert few.difference.low < 0 < few.difference.high
    assert few.n_needed is not None
    assert few.n_needed > 20
    assert many.verdict == "same"


def test_verdicts() -> None:
    assert compare([0] * 30, [1] * 20 + [0] * 10).verdict == "better"
    assert compare([1] * 30, [1] * 10 + [0] * 20).verdict == "worse"
    unknown = compare([0, 1] * 20, [1, 1] * 3 + [0, 1] * 17)
    assert unknown.verdict == "unknown"
    assert unknown.n_needed is not None
    assert unknown.n_needed > 40
    assert compare([], []).verdict == "unknown"
    assert compare([1], [0]).verdict == "unknown"


def test_swapping_turns_the_sign() -> None:
    a, b = [0, 1, 1, 0, 1, 0, 0, 1], [1, 1, 1, 0, 0, 1, 1, 1]
    one, two = compare(a, b), compare(b, a)
    assert one.difference.mean == -two.difference.mean
    assert one.difference.low == pytest.approx(-two.difference.high)
    assert (one.won, one.lost, one.mcnemar_p) == (two.lost, two.won, two.mcnemar_p)


def test_clusters_widen() -> None:
    rng = np.random.default_rng(0)
    wins = np.repeat(rng.random(20) < 0.7, 10).astype(float)
    clusters = [i // 10 for i in range(200)]
    plain, clustered = compare(np.zeros(200), wins), compare(np.zeros(200), wins, clusters=clusters)
    assert clustered.difference.n == 20
    assert clustered.difference.high - clustered.difference.low > 2 * (plain.difference.high - plain.difference.low)
    assert clustered.p > plain.p


def test_few_items_are_never_enough() -> None:
    """Four of four won, six equal ones: unknown, and the n needed is above n."""
    for found in (compare([0] * 4, [1] * 4), compare([1] * 6, [1] * 6)):
        assert found.verdict == "unknown"
        assert found.n_needed is not None
        assert found.n_needed > found.n
    assert compare([0] * 4, [1] * 4).n_needed == 6


@pytest.mark.parametrize(("k", "verdict"), [(1, "few"), (5, "few"), (6, "better"), (40, "better")])
def test_few_clusters_are_never_enough(k: int, verdict: str) -> None:
    """With five clusters the smallest p is 2 / 2^5 = 0.0625, however many items they have."""
    found = compare([0] * k * 20, [1] * k * 20, clusters=[i % k for i in range(k * 20)])
    assert found.verdict == verdict
    assert (found.n_clusters, found.clusters_needed) == (k, 6 if verdict == "few" else 0)
    same = compare([1] * k * 20, [1] * k * 20, clusters=[i % k for i in range(k * 20)], margin=0.1)
    assert (same.verdict == "few") == (k < 6)


def test_more_tests_need_more_clusters() -> None:
    assert [fewest_clusters(alpha) for alpha in (0.05, 0.01, 0.005)] == [6, 8, 9]


def test_n_for_equivalence() -> None:
    # (1.64485 + 1.28155)² · .15 / .05² = 513.8; with power .9 (1.64485 · 2)² · .15 / .05² = 649.3
    assert pairs_for_equivalence(0.15, 0.05) == 514
    assert pairs_for_equivalence(0.15, 0.05, power=0.9) == 650
    with pytest.raises(UserError, match="margin"):
        pairs_for_equivalence(0.15, 0)


def test_a_pilot_names_n_for_each_gain() -> None:
    plan = pairs_by_gain(5, 3, 30)  # ψ = 8.5 / 31 = .274
    z = 1.959964 * math.sqrt(8.5 / 31) + 0.841621 * math.sqrt(8.5 / 31 - 0.01)
    assert plan[0.10] == math.ceil((z / 0.1) ** 2)
    assert sorted(plan.values(), reverse=True) == list(plan.values())  # type: ignore[type-var]
    with pytest.raises(UserError, match="impossible"):
        pairs_by_gain(20, 20, 30)


def test_the_winner_of_equals_is_shrunk_to_about_the_truth() -> None:
    """16 identical prompts (accuracy .4) on 100 items: the best looks better than .4, the shrunk one less so."""
    rng = np.random.default_rng(0)
    seen, shrunk = [], []
    for trial in range(40):
        winner = shrink_winner((rng.random((16, 100)) < 0.4).astype(float), resamples=200, seed=trial)
        seen.append(winner.observed)
        shrunk.append(winner.shrunk)
    assert np.mean(seen) > 0.46
    assert abs(np.mean(shrunk) - 0.4) < 0.5 * (np.mean(seen) - 0.4)


def test_bad_arguments() -> None:
    with pytest.raises(UserError, match="same items"):
        compare([1, 0], [1])
    with pytest.raises(UserError, match="margin"):
        compare([1, 0], [1, 1], margin=0)
    with pytest.raises(UserError, match="table"):
        shrink_winner([1.0, 2.0])
