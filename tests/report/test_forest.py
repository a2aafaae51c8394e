"""Forest plots: where a point and its interval stand."""

import re

from kaiwa.report.figures import sign
from kaiwa.report.forest import ForestRow, forest
from kaiwa.report.words import Words

from .read_html import cells_of

WORDS = Words("en")
HALF = {"mean": 0.6, "low": 0.52, "high": 0.7, "n": 50}


def test_positions_are_shares_of_the_scale() -> None:
    html = forest("t", [ForestRow("a", HALF)], WORDS)
    assert 'cx="60.00%"' in html
    assert 'x1="52.00%" x2="70.00%"' in html
    assert 'x1="50.00%" x2="50.00%"' in html, "the rule at the neutral value"


def test_another_scale_and_another_format() -> None:
    html = forest("t", [ForestRow("a", HALF, 2)], WORDS, neutral=0.0, low=-1.0, high=1.0, show=sign)
    assert 'cx="80.00%"' in html
    assert 'x1="50.00%" x2="50.00%"' in html
    assert cells_of(html) == [["a", "", "+0.60 [+0.52, +0.70]"], ["", "−1.00 0.00 +1.00", ""]]
    assert 'class="row group2"' in html


def test_what_lies_outside_the_scale_is_drawn_at_its_end() -> None:
    html = forest("t", [ForestRow("a", {"mean": 0.9, "low": -5.0, "high": 7.0})], WORDS)
    assert 'x1="0.00%" x2="100.00%"' in html


def test_rows_say_what_they_show() -> None:
    rows = [
        ForestRow("won", HALF),
        ForestRow("lost", {"mean": 0.4, "low": 0.3, "high": 0.49}),
        ForestRow("open", {"mean": 0.5, "low": 0.4, "high": 0.6}),
        ForestRow("bare", {"mean": 0.5, "low": None, "high": None}),
        ForestRow("none", {"mean": None}),
    ]
    html = forest("t", rows, WORDS)
    said = [text.rpartition(": ")[2] for text in re.findall(r'aria-label="([^"]*)"', html)]
    assert said == ["better", "worse", "no difference can be told", "no interval"]
    assert html.count('class="whisker"') == 3
    assert cells_of(html)[4] == ["none", "", "not measured"]
