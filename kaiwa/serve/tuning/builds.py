"""Builds as child processes: `python -m kaiwa build RECIPE --out runs/RECIPE`, niced, one at a time per folder.

The whole state of a build is in its folder (status.json, written by the build itself), so a restarted server finds
the builds still running. SIGINT stops a build: the build saves its state and ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaiwa.core.artifact import write_atomic
from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.core.lock import holder
from kaiwa.core.status import FILE, read_status
from kaiwa.serve.http.bounded_json import JSONObject

NICE = 10
RECIPES = ("tiny", "laptop", "laptop-ja", "tiny-chatgpt", "chatgpt", "chatgpt-ja")
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class BuildJob:
    """A build: the name of its run, its folder, and the content of its status.json."""

    run: str
    folder: Path
    status: Mapping[str, Any]

    def to_json(self) -> JSONObject:
        report = (self.folder / "report.json").is_file()
        return {"run": self.run, "report": report, **self.status}


class BuildJobs:
    def __init__(self, runs: Path, command: Sequence[str] = (), recipes: Sequence[str] = RECIPES) -> None:
        """Take the folder of runs. command: the words before "build RECIPE --out DIR" (tests put a stub there)."""
        self.runs, self.recipes = runs, tuple(recipes)
        self.command = list(command) or [sys.executable, "-m", "kaiwa"]
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self._starting = threading.Lock()  # requests come in threads: two must not start the same build

    def all(self) -> list[BuildJob]:
        """Return every build, newest first."""
        self._reap()
        builds = []
        for folder in self.runs.iterdir() if self.runs.is_dir() else []:
            status = self._status(folder.name)
            if status is not None:
                builds.append(BuildJob(folder.name, folder, status))
        return sorted(builds, key=lambda job: -float(job.status.get("started", 0)))

    def get(self, run: str) -> BuildJob:
        """Return the build of a run. UserError with a suggestion if there is none."""
        self._reap()
        status = self._status(run) if RUN_NAME.fullmatch(run) else None
        if status is None:
            raise UserError(f"no build {run!r}{did_you_mean(run, [job.run for job in self.all()] or self.recipes)}")
        return BuildJob(run, self._folder(run), status)

    def start(self, recipe: str) -> BuildJob:
        """Start or resume a recipe's build in the folder of its `run_name`.

        UserError for an unknown recipe (code "no_recipe"), or if its build runs already (code "running").
        """
        if recipe not in self.recipes:
            raise UserError(f"no recipe {recipe!r}{did_you_mean(recipe, self.recipes)}", code="no_recipe")
        with self._starting:
            return self._start(recipe, run_name(recipe))

    def _start(self, recipe: str, run: str) -> BuildJob:
        self._reap()
        folder = self._folder(run)
        known = self._status(run)
        if known is not None and known["state"] == "running":
            raise UserError(f"{run} is being built already; stop it first, or wait for it", code="running")
        folder.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "GOMP_SPINCOUNT": "0"}
        environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
        with open(folder / "build.log", "ab") as log:
            self.children[run] = subprocess.Popen(
                ["nice", "-n", str(NICE), *self.command, "build", recipe, "--out", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches the server, which then stops builds in order
            )
        # The pages show the build at once, not only after its process has written: on a busy machine that takes long.
        pid = self.children[run].pid
        status = _blank_status(recipe) | {"state": "running", "pid": pid, "spoken": False}
        status["stages"] = known["stages"] if known is not None else []
        write_atomic(folder / FILE, json.dumps(status, ensure_ascii=False))
        lower_session_priority(pid)
        return self.get(run)

    def stop(self, run: str) -> BuildJob:
        """Ask a build to stop at the next safe point. UserError if the build does not run."""
        job = self.get(run)
        if job.status["state"] != "running":
            raise UserError(f"{run} is not running; it is {job.status['state']}")
        pid = self.children[run].pid if run in self.children else holder(self._folder(run))
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)
        return self.get(run)

    def wait(self, run: str, seconds: float) -> bool:
        """Wait for a build started by the current process. Return False if still running after so many seconds."""
        child = self.children.get(run)
        if child is None:
            return True
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def log_rows(self, run: str, offsets: dict[str, int]) -> list[JSONObject]:
        """Return rows of the metrics logs after `offsets` (bytes per file, which are updated): {"stage", "row"}.

        A shortened log (stage restarted from a checkpoint) is read from the beginning, after {"stage", "reset": True}.
        """
        rows: list[JSONObject] = []
        for file in sorted((self._folder(run) / "logs").glob("*.jsonl")):
            start, size = offsets.get(file.name, 0), file.stat().st_size
            if size < start:
                start = 0
                rows.append({"stage": file.stem, "reset": True})
            with open(file, "rb") as f:
                f.seek(start)
                data = f.read()
            whole = data[: data.rfind(b"\n") + 1]
            offsets[file.name] = start + len(whole)
            for line in whole.splitlines():
                with contextlib.suppress(ValueError):
                    rows.append({"stage": file.stem, "row": json.loads(line)})
        return rows

    def _status(self, run: str) -> dict[str, Any] | None:
        """Return the folder's status, or None. A child without a status file yet counts as running."""
        status, child = read_status(self.runs / run), self.children.get(run)
        if child is None or (status is not None and status["pid"] == child.pid and status.get("spoken", True)):
            return status
        return {**_blank_status(run), **(status or {}), "state": "running", "pid": child.pid, "error": ""}

    def _folder(self, run: str) -> Path:
        if not RUN_NAME.fullmatch(run):
            raise UserError(f"no build {run[:64]!r}; a run's name is letters, digits, - and _")
        return self.runs / run

    def _reap(self) -> None:
        """Forget ended children. A child that failed before writing a status gets its last log line as error."""
        for run, child in list(self.children.items()):
            if child.poll() is None:
                continue
            del self.children[run]
            status = read_status(self.runs / run)
            wrote = status is not None and status["pid"] == child.pid and status.get("spoken", True)
            if child.returncode != 0 and not wrote:
                lines = (self.runs / run / "build.log").read_text(encoding="utf-8", errors="replace").splitlines()
                end = {"state": "failed", "pid": child.pid, "error": (lines or ["no message"])[-1]}
                write_atomic(self.runs / run / FILE, json.dumps(_blank_status(run) | end, ensure_ascii=False))


def run_name(recipe: str) -> str:
    """Return the name of a recipe's run: its own name, or the name of its Python file."""
    return Path(recipe).stem if recipe.endswith(".py") else recipe


def _blank_status(run: str) -> dict[str, Any]:
    now = round(time.time(), 3)
    return {"recipe": run, "started": now, "updated": now, "error": "", "stages": []}


def lower_session_priority(pid: int) -> None:
    """Give the session of a process the lowest priority, where the kernel has autogroups.

    Linux shares the cores between sessions first and heeds `nice` only within a session, so a niced job in a session
    of its own would still take half of the cores.
    """
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text("19")
