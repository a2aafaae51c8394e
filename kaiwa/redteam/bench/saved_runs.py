"""Finished runs as they lie in their folders, for the page: the matrix, its summary, one cell's transcripts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaiwa.redteam.bench.trial import Outcome
from kaiwa.text.records import read_jsonl

NAME = re.compile(r"[\w][\w .-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """One run. `cells`, `benign` as in matrix.json; `summary` as in summary.json."""

    name: str
    folder: Path
    cells: Sequence[Mapping[str, Any]]
    benign: Sequence[Mapping[str, Any]]
    summary: Mapping[str, Any]

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(str(cell["model"]) for cell in self.cells))

    def arms(self, model: str) -> list[Mapping[str, Any]]:
        return [arm for arm in self.summary.get("arms", ()) if arm["model"] == model]


def saved(folder: Path, name: str) -> Saved | None:
    """A run's files; None where there is none, or where they cannot be read."""
    if not NAME.fullmatch(name):
        return None
    try:
        matrix = json.loads((folder / name / "matrix.json").read_text(encoding="utf-8"))
        summary = json.loads((folder / name / "summary.json").read_text(encoding="utf-8"))
        found = Saved(name=name, folder=folder / name, cells=matrix["cells"], benign=matrix["benign"], summary=summary)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found.cells else None


def all_saved(folder: Path) -> list[Saved]:
    """Every run, newest first."""
    names = [(p.parent.stat().st_mtime, p.parent.name) for p in folder.glob("*/matrix.json")]
    return [found for _, name in sorted(names, reverse=True) if (found := saved(folder, name)) is not None]


def transcripts(run: Saved, model: str, attack: str, defence: str) -> list[Outcome]:
    """Of one cell, in the order of the trials."""
    wanted = (model, attack, defence)
    found = []
    for row in read_jsonl(run.folder / "outcomes.jsonl"):
        if row.get("kind") == "attack" and (row.get("model"), row.get("attack"), row.get("defence")) == wanted:
            found.append(Outcome(**{**row, "said": tuple(row["said"]), "replies": tuple(row["replies"])}))
    return found


def rate(runs: Sequence[Saved], target: str, model: str, defence: str) -> Mapping[str, Any] | None:
    """The newest run's share of attacks that succeeded on this target under this defence; None if never measured."""
    for run in runs:
        if run.summary.get("plan", {}).get("target") != target:
            continue
        for arm in run.arms(model):
            if arm["defence"] == defence and arm["success"].get("mean") is not None:
                share: Mapping[str, Any] = arm["success"]
                return share
    return None
