"""The heat map of a matrix: attacks against defences, and below them the cost of each defence for harmless requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from markupsafe import Markup

from kaiwa.report import figures
from kaiwa.report.figures import Interval
from kaiwa.report.heat import heat_map
from kaiwa.report.words import Words

TESTED = ("ok", "incomplete")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatCell:
    """The share of trials that succeeded, with its interval; a cell of another status than TESTED shows the status."""

    share: Interval
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BenignCost:
    """Shares of harmless requests that a defence refused, and that got no useful answer; None: not measured."""

    refused: Interval | None
    useless: Interval | None


def attack_heat_map(
    cells: Mapping[tuple[str, str], HeatCell],
    costs: Mapping[str, BenignCost],
    words: Words,
    link: Callable[[str, str], str],
) -> Markup:
    """Draw one model's matrix. `cells`: by (attack, defence); `costs`: by defence; `link`: a cell's address."""
    attacks = list(dict.fromkeys(attack for attack, _ in cells))
    defences = list(dict.fromkeys(defence for _, defence in cells))
    refused, useless = words("redteam.cost.refused"), words("redteam.cost.useless")

    def share(row: str, defence: str) -> Interval | None:
        if row in (refused, useless):
            cost = costs.get(defence)
            return None if cost is None else cost.refused if row == refused else cost.useless
        cell = cells.get((row, defence))
        return cell.share if cell is not None and cell.status in TESTED else None

    def status(row: str, defence: str) -> str:
        return words(f"redteam.status.{cells[row, defence].status}") if (row, defence) in cells else figures.NONE

    def cell_link(row: str, defence: str) -> str:
        return link(row, defence) if (row, defence) in cells else ""

    rows = [*attacks, refused, useless]
    return heat_map(words("redteam.heat"), rows, defences, cell=share, untested=status, link=cell_link)
