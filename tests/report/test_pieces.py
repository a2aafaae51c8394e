"""The pieces: escaping, thinning, ticks, intervals as text."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.report import figures, sections
from kaiwa.report.answers import linker
from kaiwa.report.curves import POINTS, Series, nice, plot, points_of, thin
from kaiwa.report.forest import ForestRow, forest
from kaiwa.report.heat import heat_map
from kaiwa.report.html import tag
from kaiwa.report.table import share_cell, table
from kaiwa.report.words import Words

EVIL = '<script>alert("x")</script>&'


def test_text_is_escaped_everywhere() -> None:
    half = {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 10}
    words = Words("en")
    pieces = [
        tag("p", EVIL, title=EVIL),
        table([EVIL], [[EVIL, EVIL]], caption=EVIL),
        forest(EVIL, [ForestRow(EVIL, half), ForestRow(EVIL, None)], words),
        plot(EVIL, [Series(EVIL, [(0, 1), (1, 2)])], EVIL, EVIL),
        heat_map(EVIL, [EVIL], [EVIL], cell=lambda _r, _c: half, untested=EVIL),
        linker({EVIL: EVIL})(f"a {EVIL} b"),
    ]
    for piece in pieces:
        assert "<script" not in piece
        assert "style=" not in piece


def test_names_become_buttons_longest_first() -> None:
    made = linker({"Goraho": "v1", "Gora": "v2"})("Goraho met Gora.")
    assert made.count("<button") == 2
    assert 'data-villager="v1">Goraho<' in made
    assert linker({})("plain <") == "plain &lt;"


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
    ticks = nice(low, high)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1
    assert 1 <= len(ticks) <= 8
    assert ticks[0] <= low + step * 1e-3
    assert ticks[-1] >= high - step * 1e-3


def test_points_leave_out_what_is_no_number() -> None:
    rows = [{"step": 0, "loss": 1.0}, {"step": 1, "loss": None}, {"step": 2, "loss": math.nan}, {"step": 3, "loss": 2}]
    assert points_of(rows, "loss") == [(0, 1), (3, 2)]
    assert plot("t", [Series("a", [])]) == ""
    assert "<circle" in plot("t", [Series("a", [(1, 1)])])


@pytest.mark.parametrize(
    ("value", "text"), [(0.634, "63 %"), (0.004, "0.4 %"), (0.995, "99.5 %"), (0, "0 %"), (1, "100 %"), (None, "–")]
)
def test_percent(value: float | None, text: str) -> None:
    assert figures.percent(value).replace("\u00a0", " ") == text


def test_intervals() -> None:
    assert figures.limits({"mean": 0.5, "low": 0.41, "high": 1.02}).replace("\u00a0", " ") == "41–100 %"
    assert figures.limits({"mean": 0.5, "low": None, "high": None}) == "–"
    assert figures.against({"mean": 0.6, "low": 0.51, "high": 0.7}, 0.5) == "above"
    assert figures.against({"mean": 0.6, "low": 0.49, "high": 0.7}, 0.5) == "around"
    assert figures.against({"mean": None}, 0.5) == "missing"
    assert figures.sign(-0.0001) == "0.00"
    assert figures.sign(-0.5) == "−0.50"
    assert [figures.clock(s) for s in (8.24, 15, 254, 3905, None)] == ["8.2 s", "15 s", "4:14", "1:05:05", "–"]
    assert share_cell({"mean": None, "low": None, "high": None, "n": 0}) == "<td>–</td>"


def test_what_was_measured_once_is_a_figure_and_no_curve() -> None:
    rows = [
        {"step": 0, "source": "village", "read": 120, "kept": 110},
        {"step": 1, "source": "docs", "read": 80, "kept": 20},
        {"step": 2, "documents": 130},
    ]
    html = sections.stage_curves(rows, Words("en"))
    assert "<svg" not in html
    assert "documents read (docs)</small> 80" in html
    assert "documents</small> 130" in html
    both = sections.stage_curves(
        [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.5, "held_out_loss": 1.7}], Words("en")
    )
    assert both.count("<polyline") == 1
    assert "1.7" in both
