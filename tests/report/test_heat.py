"""Heat maps."""

import re

from kaiwa.report.heat import SHADES, heat_map

from .read_html import cells_of


def share(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": max(0.0, mean - 0.1), "high": min(1.0, mean + 0.1), "n": 20}


def test_shades_grow_with_the_share() -> None:
    values = {"a": 0.0, "b": 0.5, "c": 0.999, "d": 1.0}
    html = heat_map("t", ["row"], list(values), cell=lambda _, column: share(values[column]), untested="–")
    assert re.findall(r"shade(\d+)", html) == ["0", "4", "8", "8"]
    assert SHADES == 9
    assert cells_of(html) == [["", *values], ["row", "0 %", "50 %", "99.9 %", "100 %"]]


def test_a_cell_tells_its_interval_and_n() -> None:
    html = heat_map("t", ["r"], ["c"], cell=lambda *_: share(0.5), untested="–")
    assert 'title="40–60\u00a0%, n = 20"' in html


def test_what_cannot_be_tested_is_hatched_with_its_reason() -> None:
    html = heat_map("t", ["r"], ["c", "d"], cell=lambda *_: None, untested=lambda row, column: f"{row} has no {column}")
    assert html.count('class="untested"') == 2
    assert cells_of(html)[1] == ["r", "r has no c", "r has no d"]
    assert "shade" not in html


def test_cells_link_where_there_is_an_address() -> None:
    html = heat_map(
        "t",
        ["r"],
        ["c", "d", "e"],
        cell=lambda _, column: None if column == "e" else share(0.5),
        untested="–",
        link=lambda row, column: f"/{row}?x={column}&y" if column != "d" else "",
    )
    assert re.findall(r'<a href="([^"]*)">([^<]*)</a>', html) == [("/r?x=c&amp;y", "50\u00a0%"), ("/r?x=e&amp;y", "–")]
