"""A forest plot: one row per model or arm, a point with its interval, a rule at the value that means "no difference".

Positions are percentages, so the plot is sharp at any width and needs no inline style.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from kaiwa.report import figures
from kaiwa.report.figures import Interval
from kaiwa.report.html import join, tag
from kaiwa.report.words import Words


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One row of the plot; `group` (0, 1, …) colours the point."""

    label: str
    interval: Interval | None
    group: int = 0


def forest(
    title: str,
    rows: Sequence[ForestRow],
    words: Words,
    *,
    neutral: float = 0.5,
    low: float = 0.0,
    high: float = 1.0,
    show: Callable[[float], str] = figures.percent,
) -> Markup:
    """Draw the plot. `low` and `high` are the ends of the scale, `show` formats values; rows without a measurement say
    so."""

    def at(value: float) -> str:
        return f"{min(100.0, max(0.0, (value - low) / (high - low) * 100)):.2f}%"

    lines = []
    for row in rows:
        interval = row.interval
        if interval is None or not figures.is_measured(interval):
            lines.append(tag("tr", tag("th", row.label, scope="row"), tag("td"), tag("td", words("none.measured"))))
            continue
        ends = (interval.get("low"), interval.get("high"))
        shapes = [tag("line", x1=at(neutral), x2=at(neutral), y1=0, y2=28, class_="neutral")]
        if ends[0] is not None and ends[1] is not None:
            shapes.append(tag("line", x1=at(ends[0]), x2=at(ends[1]), y1=14, y2=14, class_="whisker"))
        shapes.append(tag("circle", cx=at(interval["mean"]), cy=14, r=4))
        mean_text = show(interval["mean"])
        span = "" if ends[0] is None or ends[1] is None else f" [{show(ends[0])}, {show(ends[1])}]"
        verdict = words(f"forest.{figures.against(interval, neutral)}")
        plot = tag(
            "svg", *shapes, class_=f"row group{row.group}", role="img", aria_label=f"{mean_text}{span}: {verdict}"
        )
        text = tag("td", tag("b", mean_text), tag("small", span), class_="figures")
        lines.append(tag("tr", tag("th", row.label, scope="row"), tag("td", plot, class_="plot"), text))
    marks = [
        tag("text", show(value), x=at(value), y=11, class_=anchor)
        for value, anchor in ((low, "first"), (neutral, "middle"), (high, "last"))
    ]
    axis = tag("tr", tag("td"), tag("td", tag("svg", *marks, class_="row axis"), class_="plot"), tag("td"))
    body = tag("tbody", join(lines), axis)
    return tag("div", tag("table", tag("caption", title), body, class_="forest"), class_="wide", tabindex=0)
