"""Differences as an imperfect judge tells them."""

import numpy as np
import pytest

from kaiwa.stats.comparison import compare
from kaiwa.stats.judged import JudgeRate, compare_judged, youden

PERFECT = JudgeRate(right=100_000, n=100_000)


def test_a_perfect_judge_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.random(300) < 0.4).astype(float), (rng.random(300) < 0.6).astype(float)
    plain, told = compare(a, b), compare_judged(a, b, PERFECT, PERFECT)
    assert told.difference.mean == pytest.approx(plain.difference.mean, abs=1e-9)
    assert told.difference.low == pytest.approx(plain.difference.low, abs=2e-3)
    assert told.difference.high == pytest.approx(plain.difference.high, abs=2e-3)
    assert (told.verdict, told.n_needed) == (plain.verdict, plain.n_needed)


def test_a_coin_tells_nothing_and_a_small_sample_of_labels_not_much() -> None:
    a, b = np.zeros(50), np.ones(50)
    assert compare_judged(a, b, JudgeRate(right=20, n=40), JudgeRate(right=20, n=40)).verdict == "unjudged"
    assert compare_judged(a, b, JudgeRate(right=0, n=0), JudgeRate(right=4, n=4)).verdict == "unjudged"
    few, many = (youden(JudgeRate(right=9 * k, n=10 * k), JudgeRate(right=8 * k, n=10 * k)) for k in (2, 40))
    assert few.mean == pytest.approx(0.7)
    assert few.low < many.low < 0.7 < many.high < few.high


def test_the_same_is_said_only_where_the_corrected_interval_is_within_the_margin() -> None:
    rng = np.random.default_rng(1)
    a = (rng.random(3000) < 0.5).astype(float)
    b = np.where(rng.random(3000) < 0.05, 1 - a, a)
    assert compare(a, b, margin=0.015).verdict == "same"
    assert compare_judged(a, b, PERFECT, PERFECT, margin=0.015).verdict == "same"
    weak = compare_judged(a, b, JudgeRate(right=28, n=40), JudgeRate(right=28, n=40), margin=0.015)
    assert weak.verdict == "unknown"
    assert weak.n_needed is not None
    assert weak.n_needed > 3000


def test_the_interval_covers_the_truth() -> None:
    """Judge of sensitivity .9 and specificity .8, each measured on 40 cases; truth +15 points; 300 trials."""
    rng = np.random.default_rng(2)
    held = naive = 0
    for _ in range(300):
        truth = [(rng.random(200) < p).astype(float) for p in (0.4, 0.55)]
        a, b = (np.where(rng.random(200) < np.where(t == 1, 0.9, 0.2), 1.0, 0.0) for t in truth)
        labels = [JudgeRate(right=float(rng.binomial(40, p)), n=40) for p in (0.9, 0.8)]
        found = compare_judged(a, b, labels[0], labels[1])
        held += found.difference.low <= 0.15 <= found.difference.high
        plain = compare(a, b).difference
        naive += plain.low <= 0.15 <= plain.high
    assert 0.93 <= held / 300 <= 0.985
    assert naive / 300 < held / 300 - 0.02, "without the correction the truth is missed more often"


def test_no_items_are_nothing_known() -> None:
    assert compare_judged([], [], PERFECT, PERFECT).verdict == "unknown"
    assert compare_judged([], [], PERFECT, PERFECT, margin=0.1).margin == 0.1


def test_a_corrected_difference_is_the_called_one_over_youdens_j() -> None:
    """Called right: 20 and 34 of 100; J = .9 + .8 - 1 = .7; so .14 / .7 = .2."""
    a, b = np.repeat([1.0, 0.0], [20, 80]), np.repeat([1.0, 0.0], [34, 66])
    judged = compare_judged(a, b, JudgeRate(right=180, n=200), JudgeRate(right=160, n=200))
    assert judged.difference.mean == pytest.approx(0.2)
    assert (judged.mean_a, judged.mean_b) == (0.2, 0.34), "as the judge called them"
    assert judged.verdict == "better"


def test_a_correction_stays_within_all_and_nothing() -> None:
    a, b = np.zeros(50), np.ones(50)
    judged = compare_judged(a, b, JudgeRate(right=90, n=100), JudgeRate(right=80, n=100))
    assert judged.difference.mean == judged.difference.high == 1.0


def test_clusters_widen_the_corrected_interval_too() -> None:
    rng = np.random.default_rng(3)
    b = np.repeat(rng.random(40) < 0.5, 10).astype(float)
    clusters = [i // 10 for i in range(400)]
    rate = JudgeRate(right=190, n=200)
    plain = compare_judged(np.zeros(400), b, rate, rate).difference
    clustered = compare_judged(np.zeros(400), b, rate, rate, clusters=clusters).difference
    assert clustered.n == 40
    assert clustered.high - clustered.low > 1.5 * (plain.high - plain.low)


def test_sameness_by_clusters_is_corrected_as_well() -> None:
    a = np.tile([0.0, 1.0], 400)
    clusters = [i // 4 for i in range(800)]
    assert compare_judged(a, a, PERFECT, PERFECT, clusters=clusters, margin=0.05).verdict == "same"
