"""Tables and the cells of figures."""

import re

from kaiwa.report.html import tag
from kaiwa.report.table import share_cell, table, value_cell

from .read_html import cells_of, text_of


def test_the_first_cell_of_a_row_is_its_heading() -> None:
    html = table(["", "x"], [["a", "1"], ["b", "2"]], caption="what", class_="heat")
    assert cells_of(html) == [["", "x"], ["a", "1"], ["b", "2"]]
    assert html.count('<th scope="row">') == 2
    assert html.count('<th scope="col">') == 1  # an empty corner is no heading
    assert '<table class="heat"><caption>what</caption>' in html
    assert 'aria-label="what"' in html


def test_without_a_caption() -> None:
    html = table(["a"], [])
    assert "caption" not in html
    assert "aria-label" not in html
    assert "<tbody></tbody>" in html


def test_cells_are_wrapped_once() -> None:
    html = table(["", "x", "y", "z"], [["a", value_cell("1"), tag("b", "2"), "<td>3"]])
    row = html.partition("<tbody>")[2]
    assert row.count("<td") == 3
    assert "<td><b>2</b></td>" in row
    assert "<td>&lt;td&gt;3</td>" in row, "text that looks like a cell is text"


def test_a_share_with_its_interval_and_bar() -> None:
    html = share_cell({"mean": 0.62, "low": 0.5, "high": 0.75, "n": 120})
    assert text_of(html) == "62 % 50–75 %"
    assert 'title="n = 120"' in html
    (whisker,) = re.findall(r'<line x1="([\d.]+)%" x2="([\d.]+)%"[^>]*class="whisker"', html)
    assert whisker == ("50.0", "75.0")
    assert 'cx="62.0%"' in html


def test_a_bar_stays_within_its_cell() -> None:
    html = share_cell({"mean": 0.98, "low": -0.1, "high": 1.2, "n": 3})
    assert 'x1="0.0%" x2="100.0%" y1="4" y2="4" class="whisker"' in html


def test_a_share_without_limits_or_n() -> None:
    html = share_cell({"mean": 0.5, "low": None, "high": None})
    assert "whisker" not in html
    assert 'title="n = ?"' in html
    assert text_of(html) == "50 % –"


def test_what_was_not_measured() -> None:
    assert share_cell(None) == share_cell({"mean": None}) == "<td>–</td>"
