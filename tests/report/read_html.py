"""Reading pieces of HTML back: their text, their tables, their drawn shapes."""

import re
from html import unescape


def text_of(html: str) -> str:
    """Return the text alone, with single spaces between elements and in place of no-break spaces."""
    bare = unescape(re.sub(r"<[^>]*>", " ", html)).replace("\u00a0", " ")
    return " ".join(bare.split())


def cells_of(html: str) -> list[list[str]]:
    """Return every row of every table as the texts of its cells."""
    rows = re.findall(r"<tr\b[^>]*>(.*?)</tr>", html, re.S)
    return [[text_of(cell) for cell in re.findall(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", row, re.S)] for row in rows]


def lines_of(html: str) -> dict[str, list[tuple[float, float]]]:
    """Return the drawn curves: label -> points in the picture's units."""
    found = {}
    for element in re.findall(r"<polyline [^>]*>", html):
        points = re.search(r'points="([^"]*)"', element)
        label = re.search(r'data-label="([^"]*)"', element)
        assert points
        assert label
        pairs = (pair.split(",") for pair in points[1].split())
        found[unescape(label[1])] = [(float(x), float(y)) for x, y in pairs]
    return found
