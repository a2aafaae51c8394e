"""The reader of a run's folder for the build page, also during the build: status, newest samples, logs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaiwa.core.metrics import read_metrics
from kaiwa.core.stages import STAGES, stage_names
from kaiwa.core.status import read_status
from kaiwa.report.read import read_json, read_rows, samples_of

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MOST_SAMPLES = 6


@dataclass(frozen=True, slots=True)
class Run:
    """A build's folder. `status` is its status.json, or {} before the file is written."""

    name: str
    folder: Path
    status: Mapping[str, Any]

    @property
    def state(self) -> str:
        return str(self.status.get("state", "waiting"))

    @property
    def stages(self) -> Sequence[Mapping[str, Any]]:
        return self.status.get("stages") or ()

    @property
    def current(self) -> str:
        """The running stage, or the last stage with a log."""
        running = [s["name"] for s in self.stages if s["state"] in ("running", "failed")]
        logged = [name for name in stage_names("any") if (self.folder / "logs" / f"{name}.jsonl").is_file()]
        return str((running or logged or [""])[-1])

    @property
    def seconds(self) -> float:
        """Seconds since the start; for a finished build, until its end."""
        return float(self.status.get("updated", 0)) - float(self.status.get("started", 0))

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the end of the stage at work."""
        return next((s.get("seconds_left") for s in self.stages if s["state"] == "running"), None)

    @property
    def build_left(self) -> float | None:
        """Seconds to the end of the whole build, once its pace is known."""
        return self.status.get("seconds_left")

    @property
    def reported(self) -> bool:
        return (self.folder / "report.json").is_file()


def list_runs(runs: Path) -> list[Run]:
    """Return every folder with a status, newest first."""
    runs_with_status = []
    for folder in runs.iterdir() if runs.is_dir() else ():
        status = read_status(folder) if NAME.fullmatch(folder.name) else None
        if status is not None:
            runs_with_status.append(Run(folder.name, folder, status))
    return sorted(runs_with_status, key=lambda run: -float(run.status.get("started", 0)))


def find_run(runs: Path, name: str) -> Run | None:
    """Return a run by name, or None; never a folder outside the folder of runs."""
    if not NAME.fullmatch(name):
        return None
    status = read_status(runs / name)
    return Run(name, runs / name, status) if status is not None else None


def read_log(run: Run, stage: str) -> list[dict[str, Any]]:
    """Return a stage's metrics; [] for an unknown stage or an empty log."""
    known = stage in stage_names("any") or any(stage == s["name"] for s in run.stages)
    return read_metrics(run.folder / "logs" / f"{stage}.jsonl") if known else []


def log_mark(run: Run, stage: str) -> int:
    """Return a number that changes with the log."""
    try:
        return (run.folder / "logs" / f"{stage}.jsonl").stat().st_size
    except OSError:
        return 0


def read_newest_samples(run: Run) -> tuple[str, int, list[tuple[str, str, str]]]:
    """Return (stage, step, [(language, prompt, answer)]) of the newest checkpoint with answers to the probes."""
    for stage in (stage.name for stage in reversed(STAGES) if stage.samples):
        rows = samples_of(run.folder, stage)
        if not rows:
            continue
        step = int(rows[-1].get("step", 0))
        probes = _probes(run.folder)
        last = [r for r in rows if r.get("step") == step and r.get("id") in probes]
        samples = [(str(r.get("language", "en")), probes[r["id"]], str(r.get("text", ""))) for r in last]
        return stage, step, samples[:MOST_SAMPLES]
    return "", 0, []


def _probes(folder: Path) -> dict[str, str]:
    """Return the question of each chat probe, by id."""
    return {
        row["id"]: " / ".join(m["content"] for m in row["messages"] if m["role"] == "user")
        for row in read_rows(folder / "village" / "probes.jsonl")
        if row.get("kind") == "chat"
    }


def read_manifest(run: Run, stage: str) -> Mapping[str, Any]:
    """Return kaiwa.json of a finished stage, else {}."""
    return read_json(run.folder / stage / "kaiwa.json") if stage in stage_names("any") else {}
