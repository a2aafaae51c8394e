"""The report of a build: report.json and report.html."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaiwa.core.artifact import MANIFEST, Artifact, write_atomic
from kaiwa.core.errors import UserError
from kaiwa.core.machine import peak_memory_bytes
from kaiwa.recipes.receipt import receipt
from kaiwa.recipes.settings import Recipe

MODEL_FIELDS = (
    "name", "win_rate_vs_sft", "helpful", "truthful", "harmless", "ended", "mean_tokens", "kl_to_sft", "bits_per_byte",
    "turn3", "turn3_without_turn1", "win_rate_vs_rival",
)  # fmt: skip


def write_report(out: Path, recipe: Recipe, artifacts: Mapping[str, Artifact], base: Artifact) -> Path:
    """Write report.json and report.html; return the path of report.json. base: the pretrained model."""
    stages = [
        {
            "name": name,
            "seconds": artifact.manifest["seconds"],
            "artifact": artifact.path.name,
            "metrics": artifact.metrics,
        }
        for name, artifact in artifacts.items()
    ]
    evaluation = json.loads((artifacts["evaluation"].path / "evaluation.json").read_text(encoding="utf-8"))
    seconds = round(sum(s["seconds"] for s in stages), 1)
    value = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "seconds": seconds,
        "peak_memory_bytes": max(peak_memory_bytes(), _peak_so_far(out)),
        "stages": stages,
        "models": [{k: row[k] for k in MODEL_FIELDS if k in row} for row in evaluation["models"]],
        "details": evaluation,
        "receipt": receipt(seconds, base),
    }
    file = out / "report.json"
    write_atomic(file, json.dumps(value, ensure_ascii=False, indent=1))
    write_html(out)
    return file


def _peak_so_far(out: Path) -> int:
    """Return the peak memory of an earlier run of the same build, 0 without one."""
    try:
        return int(json.loads((out / "report.json").read_text(encoding="utf-8"))["peak_memory_bytes"])
    except (OSError, ValueError, KeyError):
        return 0


def write_html(folder: Path) -> Path:
    """Write report.html, self-contained and in English and Japanese, next to report.json. Return its path."""
    from kaiwa.report.build_report import render_build

    file = folder / "report.html"
    write_atomic(file, render_build(folder))
    return file


def read_report(folder: Path) -> dict[str, Any]:
    """Return report.json of a finished build. UserError if the build has no report."""
    file = folder / "report.json"
    if not file.is_file():
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; give a build's, as runs/laptop")
        stages = sorted(p.parent.name for p in folder.glob(f"*/{MANIFEST}"))
        raise UserError(f"{folder}: no report yet (finished stages: {', '.join(stages) or 'none'}); run `kaiwa build`")
    value: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return value
