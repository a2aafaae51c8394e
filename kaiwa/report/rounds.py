"""The rounds of a build, read from their folders: one line each, for the terminal and the Build page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from kaiwa.core.artifact import MANIFEST
from kaiwa.report import figures
from kaiwa.report.html import Child
from kaiwa.report.read import read_json
from kaiwa.report.table import share_cell, table, value_cell
from kaiwa.report.words import Words


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundLine:
    """A round's figures. labels: of this and earlier rounds when training began, None before. against_*: intervals."""

    number: int
    prompts: int
    k: int
    labels: int | None = None
    accuracy: float | None = None  # of the reward model on held-out rankings
    ceiling: float | None = None
    against_before: Mapping[str, Any] = field(default_factory=dict)
    against_sft: Mapping[str, Any] = field(default_factory=dict)
    against_first: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_trained(self) -> bool:
        return self.labels is not None


def read_rounds(run: Path) -> list[RoundLine]:
    """Return the rounds of a build's folder, from the first; [] where there is none."""
    lines: list[RoundLine] = []
    while (folder := run / "rounds" / str(len(lines) + 1) / "outputs").is_dir():
        lines.append(_line(folder.parent, len(lines) + 1))
    return lines


def _line(folder: Path, number: int) -> RoundLine:
    outputs, labels, reward = (read_json(folder / name / MANIFEST) for name in ("outputs", "comparisons", "reward"))
    value = read_json(folder / "evaluation" / "rounds.json")
    before = f"round_{number - 1}" if number > 1 else "build"
    trained = (folder / "policy" / MANIFEST).is_file()
    return RoundLine(
        number=number,
        prompts=outputs.get("metrics", {}).get("prompts", 0),
        k=outputs.get("config", {}).get("k", 0),
        labels=labels.get("metrics", {}).get("labels") if trained else None,
        accuracy=reward.get("metrics", {}).get("held_out_accuracy"),
        ceiling=labels.get("metrics", {}).get("ceiling"),
        against_before=_win(value, before),
        against_sft=_win(value, "sft"),
        against_first=_win(value, "round_1"),
    )


def _win(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the share of decided pairs won against a model, by the village's judge or by people; {} without any."""
    row = value.get("against", {}).get(name, {})
    win: Mapping[str, Any] = row.get("sampled", row).get("decided", {})
    return win


def rounds_table(lines: Sequence[RoundLine], words: Words) -> Markup:
    """Draw a row a round: labels, the reward model's accuracy and its ceiling, win rates with intervals."""
    heads = [words(f"rounds.{key}") for key in ("round", "prompts", "labels", "accuracy", "ceiling", "before", "sft")]
    rows: list[list[Child]] = []
    for line in lines:
        row: list[Child] = [str(line.number), value_cell(f"{figures.number(line.prompts)} × {line.k}")]
        row.append(value_cell(figures.number(line.labels)))
        row += [value_cell(figures.percent(line.accuracy)), value_cell(figures.percent(line.ceiling))]
        row += [share_cell(line.against_before), share_cell(line.against_sft)]
        rows.append(row)
    return table([*heads], rows, caption=words("rounds.caption"))
