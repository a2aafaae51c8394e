"""Tables that scroll by themselves on narrow screens, and the cell of a figure with its interval."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from kaiwa.report import figures
from kaiwa.report.figures import Interval
from kaiwa.report.html import Child, join, tag


def table(headers: Sequence[Child], rows: Iterable[Sequence[Child]], *, caption: str = "", class_: str = "") -> Markup:
    """Draw a table. A row's first cell is its heading; other cells are wrapped in <td> unless already <td>."""
    head = tag("tr", *(tag("td") if h == "" else tag("th", h, scope="col") for h in headers))
    body = [tag("tr", *(tag("th", c, scope="row") if i == 0 else _cell(c) for i, c in enumerate(row))) for row in rows]
    title = tag("caption", caption) if caption else None
    inner = tag("table", title, tag("thead", head), tag("tbody", join(body)), class_=class_ or None)
    return tag("div", inner, class_="wide", tabindex=0, role="region", aria_label=caption or None)


def _cell(content: Child) -> Markup:
    return content if isinstance(content, Markup) and content.startswith("<td") else tag("td", content)


def share_cell(interval: Interval | None) -> Markup:
    """Draw a share with its 95 % interval and a bar from 0 to 100 %."""
    if interval is None or not figures.is_measured(interval):
        return tag("td", figures.NONE)
    return tag(
        "td",
        tag("b", figures.percent(interval["mean"])),
        tag("small", " ", figures.limits(interval)),
        _bar(interval),
        class_="figures",
        title=f"n = {interval.get('n', '?')}",
    )


def value_cell(text: str) -> Markup:
    return tag("td", text, class_="figures")


def _bar(interval: Interval) -> Markup:
    low, high = interval.get("low"), interval.get("high")
    mean = float(interval["mean"]) * 100
    whisker = None
    if low is not None and high is not None:
        start, end = max(0.0, low) * 100, min(1.0, high) * 100
        whisker = tag("line", x1=f"{start:.1f}%", x2=f"{end:.1f}%", y1=4, y2=4, class_="whisker")
    axis = tag("line", x1="0%", x2="100%", y1=4, y2=4, class_="rule")
    return tag("svg", axis, whisker, tag("circle", cx=f"{mean:.1f}%", cy=4, r=3), class_="bar", aria_hidden="true")
