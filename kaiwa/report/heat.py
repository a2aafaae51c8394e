"""A heat map: rows against columns, each cell a shade with its figure and, on hover, its interval and n."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from kaiwa.report import figures
from kaiwa.report.figures import Interval
from kaiwa.report.html import tag
from kaiwa.report.table import table

SHADES = 9


def heat_map(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    cell: Callable[[str, str], Interval | None],
    untested: str | Callable[[str, str], str],
    link: Callable[[str, str], str] | None = None,
) -> Markup:
    """Draw the map.

    `cell` returns the share of a row and a column, or None where nothing can be tested: the cell is then hatched and
    shows `untested`. `link` returns a cell's address, or "".
    """

    def link_text(text: str, row: str, column: str) -> Markup | str:
        address = link(row, column) if link is not None else ""
        return tag("a", text, href=address) if address else text

    def draw_cell(row: str, column: str) -> Markup:
        interval = cell(row, column)
        if interval is None or not figures.is_measured(interval):
            reason = untested if isinstance(untested, str) else untested(row, column)
            return tag("td", link_text(reason, row, column), class_="untested")
        shade = min(SHADES - 1, int(float(interval["mean"]) * SHADES))
        hint = f"{figures.limits(interval)}, n = {interval.get('n', '?')}"
        text = figures.percent(interval["mean"])
        return tag("td", link_text(text, row, column), class_=f"figures shade{shade}", title=hint)

    body = ([row, *(draw_cell(row, column) for column in columns)] for row in rows)
    return table(["", *columns], body, caption=title, class_="heat")
