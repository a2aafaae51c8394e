"""Every detector speaks on the history it is for, once, and keeps silent on a healthy one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.report.sections import stage_curves
from kaiwa.report.words import Words
from kaiwa.rlhf.detectors import (
    DETECTORS,
    FEW,
    MANY,
    Watch,
    collapsed,
    correlation,
    ended_falling,
    length_with_score,
    mean,
    negative_kl,
    out_of_range,
    ratio_off_one,
    value_hinders,
    warning_text,
)

HEALTHY = {"kl": 1.0, "ratio_off": 1e-5, "ended": 0.98, "length": 10.0, "score": 0.5, "explained_variance": 0.4,
           "score_outside": 0.02, "distinct": 0.8}  # fmt: skip


def history(n: int, **moving: tuple[float, float]) -> list[dict[str, float]]:
    """n updates; a metric moves from its first value to its second in equal steps."""
    return [
        HEALTHY | {name: a + (b - a) * i / (n - 1) for name, (a, b) in moving.items()} | {"policy_loss": 0.0}
        for i in range(n)
    ]


def names(rows: list[dict[str, float]]) -> list[str]:
    watch = Watch()
    return [name for row in rows for name, _ in watch.look(row)]


SICK = {
    "negative_kl": history(8, kl=(-0.2, -0.2)),
    "ratio_off_one": history(2, ratio_off=(0.0, 0.3)),
    "ended_falling": history(30, ended=(0.98, 0.6)),
    "length_with_score": history(30, length=(10.0, 20.0), score=(0.0, 2.0)),
    "value_hinders": history(25, explained_variance=(-0.5, -0.5)),
    "out_of_range": history(10, score_outside=(0.0, 0.9)),
    "collapsed": history(30, distinct=(0.9, 0.02)),
}


def test_nothing_is_said_of_a_healthy_run() -> None:
    assert names(history(60)) == []


@pytest.mark.parametrize("name", DETECTORS)
def test_each_is_found_once_and_nothing_else(name: str) -> None:
    assert names(SICK[name]) == [name]


def test_a_length_that_grows_without_the_score_is_no_cause() -> None:
    assert names(history(30, length=(10.0, 20.0), score=(2.0, 0.0))) == []


@pytest.mark.parametrize("name", DETECTORS)
def test_going_on_from_a_checkpoint_says_the_same(name: str) -> None:
    rows = SICK[name]
    for cut in range(0, len(rows), 3):
        first, second = Watch(), Watch()
        found = [n for row in rows[:cut] for n, _ in first.look(row)]
        second.restore(first.state())
        assert found + [n for row in rows[cut:] for n, _ in second.look(row)] == names(rows)


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_line_says_what_why_and_what_to_try_on_the_page_too(language: str) -> None:
    for name in DETECTORS:
        line = warning_text(name, -0.123, language)
        assert "-0.12" in line
        assert "\n" not in line
        rows = [{"step": 3, "score": 1.0}, {"step": 3, "warning": name, "warning_value": -0.123}]
        assert str(warning_text(name, -0.123, language)).split("{")[0][:20] in stage_curves(rows, Words(language))


def still(n: int, **metrics: float) -> list[dict[str, float]]:
    return [dict(metrics) for _ in range(n)]


@pytest.mark.parametrize(
    ("detector", "rows", "figure"),
    [
        (negative_kl, still(FEW, kl=-0.06), -0.06),
        (negative_kl, still(FEW, kl=-0.05), None),  # the limit is no worry
        (negative_kl, still(FEW - 1, kl=-9.0), None),  # too few to make a mean
        (negative_kl, still(50, kl=1.0) + still(FEW, kl=-0.5), -0.5),  # only the last ones count
        (ratio_off_one, still(1, ratio_off=0.021), 0.021),
        (ratio_off_one, still(1, ratio_off=0.02), None),
        (ratio_off_one, still(1, ratio_off=0.5) + still(1, ratio_off=0.0), None),
        (ended_falling, still(FEW, ended=0.9) + still(FEW, ended=0.75), 0.75),
        (ended_falling, still(FEW, ended=0.9) + still(FEW, ended=0.82), None),
        (ended_falling, still(FEW, ended=0.9) + still(FEW - 1, ended=0.0), None),
        (value_hinders, still(MANY, explained_variance=-0.1), -0.1),
        (value_hinders, still(MANY - 1, explained_variance=-0.1), None),
        (value_hinders, still(MANY, explained_variance=0.0), None),
        (out_of_range, still(FEW, score_outside=0.21), 0.21),
        (out_of_range, still(FEW, score_outside=0.2), None),
        (collapsed, still(FEW, distinct=0.5) + still(FEW, distinct=0.24), 0.24),
        (collapsed, still(FEW, distinct=0.5) + still(FEW, distinct=0.26), None),  # not halved
        (collapsed, still(FEW, distinct=0.9) + still(FEW, distinct=0.31), None),  # halved, but above 0.3
        (length_with_score, still(MANY - 1, length=9.0, score=1.0), None),
        (length_with_score, still(MANY, length=9.0, score=1.0), None),
    ],
)
def test_the_limit_of_each(detector: object, rows: list[dict[str, float]], figure: float | None) -> None:
    assert detector(rows) == pytest.approx(figure)  # type: ignore[operator]


def test_the_growth_of_the_length_is_of_its_first_and_last_five() -> None:
    rows = [{"length": 10.0 + i, "score": 0.1 * i} for i in range(MANY)]
    # the first five average 12, the last five 27
    assert length_with_score(rows) == pytest.approx(27 / 12 - 1)
    slow = [{"length": 100.0 + i, "score": 0.1 * i} for i in range(MANY)]
    assert length_with_score(slow) is None


def test_a_mean_needs_the_metric_in_every_row() -> None:
    assert mean([{"kl": 1.0}, {"kl": 2.0}], "kl") == 1.5
    assert mean([{"kl": 1.0}, {}], "kl") is None
    assert mean([], "kl") is None
    assert mean([{"kl": 0.0}], "kl") == 0.0


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=20))
def test_the_correlation_is_numpys(pairs: list[tuple[int, int]]) -> None:
    x, y = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    if len(set(x)) > 1 and len(set(y)) > 1:
        assert correlation(x, y) == pytest.approx(float(np.corrcoef(x, y)[0, 1]), abs=1e-9)
    else:
        assert correlation(x, y) == pytest.approx(0.0)
