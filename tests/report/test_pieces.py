"""No piece of a page lets a text out of its element."""

from kaiwa.report.answers import linker
from kaiwa.report.curves import Series, plot
from kaiwa.report.forest import ForestRow, forest
from kaiwa.report.heat import heat_map
from kaiwa.report.html import tag
from kaiwa.report.table import table
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
