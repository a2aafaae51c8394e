"""Line curves: thinning, ticks, and where a value is drawn."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.report.curves import (
    BOTTOM,
    HEIGHT,
    LEFT,
    POINTS,
    RIGHT,
    TOP,
    WIDTH,
    Series,
    plot,
    points_of,
    round_ticks,
    thin,
)

from .read_html import lines_of, text_of


def ticks_of(html: str) -> list[str]:
    """Return the labels of the value axis, from below."""
    return re.findall(rf'<text x="{LEFT - 6}"[^>]*>([^<]*)</text>', html)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.5, 1]),
        (0, 8, [0, 2, 4, 6, 8]),
        (3, 7, [3, 4, 5, 6, 7]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
        (0.12, 0.31, [0.1, 0.15, 0.2, 0.25, 0.3, 0.35]),
        (1200, 4100, [1000, 2000, 3000, 4000, 5000]),
        (5, 5, [5]),
    ],
)
def test_ticks_are_round_and_cover_the_range(low: float, high: float, ticks: list[float]) -> None:
    assert round_ticks(low, high) == pytest.approx(ticks)


def test_thinning_averages_equal_buckets_and_keeps_the_last_point() -> None:
    points = [(float(i), float(i % 2)) for i in range(8)]
    assert thin(points, 5) == [(0.5, 0.5), (2.5, 0.5), (4.5, 0.5), (6.5, 0.5), (7.0, 1.0)]


def test_few_points_are_left_alone() -> None:
    points = [(0.0, 1.0), (1.0, 5.0)]
    assert thin(points, 2) == points
    assert thin([], 2) == []


def test_points_of_one_metric() -> None:
    rows = [
        {"step": 1, "loss": 2},
        {"step": 2, "other": 9.0},
        {"step": 3, "loss": True},
        {"step": 4, "loss": "2.0"},
        {"step": 5, "loss": math.inf},
        {"step": 6, "loss": 0.0},
    ]
    assert points_of(rows, "loss") == [(1.0, 2.0), (6.0, 0.0)]


def test_a_curve_spans_the_picture() -> None:
    html = plot("loss", [Series("a", [(0, 0), (5, 4), (10, 8)])])
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    middle = ((LEFT + right) / 2, (TOP + bottom) / 2)
    assert lines_of(html) == {"a": [(LEFT, bottom), middle, (right, TOP)]}
    assert ticks_of(html) == ["0", "2", "4", "6", "8"]


def test_all_curves_of_a_plot_share_its_axes() -> None:
    html = plot("loss", [Series("a", [(0, 0), (10, 1)]), Series("none", []), Series("b", [(5, 8)])])
    drawn = lines_of(html)
    assert set(drawn) == {"a", "b"}
    assert drawn["b"] == [((LEFT + WIDTH - RIGHT) / 2, TOP)]
    assert 'data-x="44 350 0 10"' in html
    assert 'data-y="148 8 0 8"' in html
    assert re.findall(r'<circle cx="([\d.]+)"', html) == ["197.0"], "a single point is a dot, a curve has none"


@pytest.mark.parametrize(("value", "ticks"), [(3, ["0", "1", "2", "3"]), (-3, ["-3", "-2", "-1", "0"]), (0, ["0"])])
def test_a_flat_curve_is_drawn_against_zero(value: float, ticks: list[str]) -> None:
    html = plot("x", [Series("a", [(0, value), (1, value)])])
    assert ticks_of(html) == ticks
    heights = {y for _, y in lines_of(html)["a"]}
    assert heights == {TOP if value > 0 else HEIGHT - BOTTOM}


def test_the_last_values_are_said_in_words_too() -> None:
    html = plot(
        "loss", [Series("train", [(0, 9), (1, 1.234)]), Series("held out", [(0, 9), (1, 2)])], "lower is better"
    )
    assert 'aria-label="loss: train 1.23, held out 2"' in html
    assert text_of(html).startswith("loss train 1.23 held out 2")
    assert text_of(html).endswith("lower is better")


def test_the_ends_of_the_x_axis() -> None:
    html = plot("x", [Series("a", [(0.25, 0), (1200, 1)])], x_label="step")
    assert re.findall(r'<text[^>]*class="(first|middle|last)"[^>]*>([^<]*)<', html)[-3:] == [
        ("first", "0.25"),
        ("last", "1,200"),
        ("middle", "step"),
    ]


@given(st.lists(st.tuples(st.integers(0, 10_000), st.floats(-1e6, 1e6)), max_size=2000))
def test_thinning_keeps_the_end_and_the_range(points: list[tuple[int, float]]) -> None:
    found = thin(points)
    assert len(found) <= POINTS
    if points:
        assert found[-1] == points[-1]
        assert min(y for _, y in points) - 1e-6 <= min(y for _, y in found)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_enclose_the_range(low: float, width: float) -> None:
    high = low + width
    if high <= low:
        return
    ticks = round_ticks(low, high)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1
    assert 1 <= len(ticks) <= 8
    assert ticks[0] <= low + step * 1e-3
    assert ticks[-1] >= high - step * 1e-3
