"""Finished runs read from their folders, for the page: the matrix, its summary, one cell's transcripts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaiwa.redteam.bench.heat import BenignCost, HeatCell
from kaiwa.redteam.bench.trial import TrialOutcome
from kaiwa.stats.intervals import wilson
from kaiwa.text.records import read_jsonl

NAME = re.compile(r"[\w][\w .-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedRun:
    """One run. `cells`, `benign`: as in matrix.json; `summary`: summary.json."""

    name: str
    folder: Path
    cells: Sequence[Mapping[str, Any]]
    benign: Sequence[Mapping[str, Any]]
    summary: Mapping[str, Any]

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(str(cell["model"]) for cell in self.cells))

    def heat_cells(self, model: str) -> dict[tuple[str, str], HeatCell]:
        """Return a model's cells by (attack, defence)."""
        return {
            (str(cell["attack"]), str(cell["defence"])): HeatCell(share=_cell_share(cell), status=cell["status"])
            for cell in self.cells
            if cell["model"] == model
        }

    def benign_costs(self, model: str) -> dict[str, BenignCost]:
        """Return each defence's cost for harmless requests. matrix.json keeps counts, so the intervals are Wilson's."""
        rows = [row for row in self.benign if row["model"] == model]
        return {str(row["defence"]): _benign_cost(int(row["trials"]), row["blocked"], row["utility"]) for row in rows}

    def arms(self, model: str) -> list[Mapping[str, Any]]:
        return [arm for arm in self.summary.get("arms", ()) if arm["model"] == model]


def _cell_share(cell: Mapping[str, Any]) -> dict[str, Any]:
    trials = cell["trials"]
    mean = cell["successes"] / trials if trials else None
    return {"mean": mean, "low": cell["low"], "high": cell["high"], "n": trials}


def _benign_cost(n: int, blocked: int, utility: float | None) -> BenignCost:
    if not n:
        return BenignCost(refused=None, useless=None)
    useless = min(float(n), n * (1 - (utility or 0.0)))
    return BenignCost(refused=wilson(blocked, n).to_json(), useless=wilson(useless, n).to_json())


def read_run(folder: Path, name: str) -> SavedRun | None:
    """Read a run's files; None where files are missing or unreadable."""
    if not NAME.fullmatch(name):
        return None
    try:
        matrix = json.loads((folder / name / "matrix.json").read_text(encoding="utf-8"))
        summary = json.loads((folder / name / "summary.json").read_text(encoding="utf-8"))
        run = SavedRun(name=name, folder=folder / name, cells=matrix["cells"], benign=matrix["benign"], summary=summary)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return run if run.cells else None


def list_runs(folder: Path) -> list[SavedRun]:
    """List every run in a folder, newest first."""
    names = [(p.parent.stat().st_mtime, p.parent.name) for p in folder.glob("*/matrix.json")]
    return [run for _, name in sorted(names, reverse=True) if (run := read_run(folder, name)) is not None]


def read_transcripts(run: SavedRun, model: str, attack: str, defence: str) -> list[TrialOutcome]:
    """Read the outcomes of one cell, in the order of the trials."""
    cell = (model, attack, defence)
    outcomes = []
    for row in read_jsonl(run.folder / "outcomes.jsonl"):
        if row.get("kind") == "attack" and (row.get("model"), row.get("attack"), row.get("defence")) == cell:
            outcomes.append(TrialOutcome.from_json(row))
    return outcomes


def newest_share(runs: Sequence[SavedRun], target: str, model: str, defence: str) -> Mapping[str, Any] | None:
    """Return the newest run's share of attacks that succeeded on a target under a defence; None if never measured."""
    for run in runs:
        if run.summary.get("plan", {}).get("target") != target:
            continue
        for arm in run.arms(model):
            if arm["defence"] == defence and arm["success"].get("mean") is not None:
                share: Mapping[str, Any] = arm["success"]
                return share
    return None
