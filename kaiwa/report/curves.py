"""Line curves: one small plot per family of metrics, with axes, last values and one line on the metric's meaning."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from kaiwa.report.figures import number
from kaiwa.report.html import join, tag

WIDTH, HEIGHT = 360, 170
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 8, 22
POINTS = 160  # a curve; more are averaged in buckets

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    label: str
    points: Sequence[Point]


def points_of(rows: Iterable[Mapping[str, Any]], metric: str) -> list[Point]:
    """Return (step, value) of a metric's rows, thinned to POINTS. Values that are not finite are left out."""
    points = []
    for row in rows:
        value = row.get(metric)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            points.append((float(row["step"]), float(value)))
    return thin(points)


def thin(points: Sequence[Point], most: int = POINTS) -> list[Point]:
    """Thin points to at most `most`: means of equal buckets. The last point stays unchanged, since people read that
    value off.
    """
    if len(points) <= most:
        return list(points)
    size = len(points) / (most - 1)
    means = []
    for i in range(most - 1):
        part = points[int(i * size) : int((i + 1) * size)]
        means.append((sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)))
    return [*means, points[-1]]


def plot(title: str, series: Sequence[Series], explanation: str = "", x_label: str = "") -> Markup:
    """Draw a figure of all series; empty Markup where no series has a point."""
    drawn = [s for s in series if s.points]
    if not drawn:
        return Markup("")
    xs = [x for s in drawn for x, _ in s.points]
    ys = [y for s in drawn for _, y in s.points]
    x0, x1 = min(xs), max(xs)
    flat = max(ys) == min(ys)
    ticks = round_ticks(min(0.0, *ys), max(0.0, *ys)) if flat else round_ticks(min(ys), max(ys))
    y0, y1 = min(ticks[0], min(ys)), max(ticks[-1], max(ys))

    def px(x: float) -> float:
        return LEFT + (x - x0) / ((x1 - x0) or 1) * (WIDTH - LEFT - RIGHT)

    def py(y: float) -> float:
        return HEIGHT - BOTTOM - (y - y0) / ((y1 - y0) or 1) * (HEIGHT - TOP - BOTTOM)

    shapes = []
    for y in ticks:
        shapes.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=f"{py(y):.1f}", y2=f"{py(y):.1f}", class_="grid"))
        shapes.append(tag("text", number(y), x=LEFT - 6, y=f"{py(y) + 4:.1f}", class_="last"))
    for x, anchor in ((x0, "first"), (x1, "last")):
        shapes.append(
            tag("text", f"{x:,.0f}" if x == int(x) else number(x, 2), x=f"{px(x):.1f}", y=HEIGHT - 6, class_=anchor)
        )
    if x_label:
        shapes.append(tag("text", x_label, x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 6, class_="middle"))
    for i, line in enumerate(drawn):
        path = " ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in line.points)
        if len(line.points) == 1:
            x, y = line.points[0]
            shapes.append(tag("circle", cx=f"{px(x):.1f}", cy=f"{py(y):.1f}", r=3, class_=f"dot s{i % 6}"))
        shapes.append(tag("polyline", points=path, class_=f"line s{i % 6}", data_label=line.label))
    last = ", ".join(f"{s.label} {number(s.points[-1][1])}" for s in drawn)
    picture = tag(
        "svg",
        *shapes,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=f"{title}: {last}",
        data_x=f"{LEFT} {WIDTH - RIGHT} {x0:g} {x1:g}",
        data_y=f"{HEIGHT - BOTTOM} {TOP} {y0:.6g} {y1:.6g}",
    )
    names = (
        tag("span", tag("i", class_=f"key s{i % 6}"), s.label, " ", tag("b", number(s.points[-1][1])))
        for i, s in enumerate(drawn)
    )
    keys = tag("div", join(names), class_="keys-line figures")
    note = tag("p", explanation, class_="small") if explanation else None
    return tag("figure", tag("figcaption", title), keys, picture, note, class_="curve")


def round_ticks(low: float, high: float, most: int = 4) -> list[float]:
    """Return a few round values that cover the range from `low` to `high`: steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    for factor in (1, 2, 5, 10):
        if (high - low) / (step * factor) <= most:
            step *= factor
            break
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]
