"""status.json of a build: the state of every stage, for the terminal and the pages. Written at most twice a second.

{"recipe", "state": "running" | "finished" | "stopped" | "failed", "pid", "started", "updated", "error", "seconds_left",
 "stages": [{"name", "state": "waiting" | "running" | "done" | "failed", "seconds", "done", "total", "text",
             "tokens_per_second", "seconds_left"}]}
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kaiwa.core.artifact import write_atomic
from kaiwa.core.context import Progress
from kaiwa.core.errors import Stopped
from kaiwa.core.lock import holder

FILE = "status.json"
EVERY = 0.5  # seconds between two writes
START_SECONDS = 600.0  # a process without a status after this time is no longer starting
LEAST_SHARE = 0.01  # of the usual duration; with less done, no pace is estimated


class Status:
    """The status of a running build. The context of the stages calls `show`."""

    def __init__(self, folder: Path, recipe: str, stages: Mapping[str, float]) -> None:
        """stages: stage name -> usual duration in seconds, in their order; only the proportions matter."""
        self.file = folder / FILE
        self.usual = dict(stages)
        self.written = 0.0
        self.current: dict[str, Any] | None = None
        self.began = 0.0
        self.value: dict[str, Any] = {
            "recipe": recipe,
            "state": "running",
            "pid": os.getpid(),
            "started": round(time.time(), 3),
            "updated": round(time.time(), 3),
            "error": "",
            "seconds_left": None,
            "stages": [_waiting(name) for name in stages],
        }
        self.write(force=True)

    def show(self, progress: Progress) -> None:
        """Record a stage's progress, and set the progress's seconds left of the build."""
        stage = self.current
        if stage is None:
            return
        seconds = time.monotonic() - self.began
        if stage["done"] == 0:
            stage["_first"] = (progress.done, seconds)
        first_done, first_seconds = stage.setdefault("_first", (progress.done, seconds))
        done = progress.done - first_done
        seconds_left = (seconds - first_seconds) / done * (progress.total - progress.done) if done > 0 else None
        stage.update(
            done=progress.done,
            total=progress.total,
            text=progress.text,
            seconds=round(seconds, 1),
            tokens_per_second=round(progress.tokens_per_second, 1),
            seconds_left=None if seconds_left is None else round(seconds_left, 1),
        )
        progress.build_seconds_left = self.value["seconds_left"] = self.seconds_left()
        self.write()

    def seconds_left(self) -> float | None:
        """Return the seconds to the build's end, or None until the pace is known.

        The pace is actual time over usual time of the work done by this process; the remaining stages are taken to
        continue at this pace. Stages finished by an earlier process do not count.
        """
        spent = expected = 0.0
        for stage in self.value["stages"]:
            if stage["done"] and stage["total"]:
                share = 1.0 if stage["state"] == "done" else stage["done"] / stage["total"]
                first, seconds = stage["_first"]  # a resumed stage did the work before this in another process
                spent += stage["seconds"] - seconds
                expected += self.usual[stage["name"]] * (share - first / stage["total"])
        if self.current is None or expected <= LEAST_SHARE * sum(self.usual.values()):
            return None
        pace = spent / expected
        now = self.current
        own = now["seconds_left"]
        if own is None:
            own = self.usual[now["name"]] * pace * (1 - now["done"] / max(1, now["total"]))
        to_come = sum(self.usual[s["name"]] for s in self.value["stages"] if s["state"] == "waiting")
        return round(float(own + pace * to_come), 1)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Run a stage in the block; record the stage as done, stopped or failed when the block ends."""
        self.current = next(s for s in self.value["stages"] if s["name"] == name)
        self.began = time.monotonic()
        self.current["state"] = "running"
        self.write(force=True)
        try:
            yield
        except (Stopped, KeyboardInterrupt):
            self.current["state"] = "waiting"
            self.end("stopped")
            raise
        except BaseException as error:
            self.current["state"] = "failed"
            with contextlib.suppress(OSError):  # on a full disk the original error matters
                self.end("failed", f"{name}: {error}")
            raise
        self.current.update(state="done", seconds=round(time.monotonic() - self.began, 1), seconds_left=0)
        self.current = None
        self.write(force=True)

    def end(self, state: str, error: str = "") -> None:
        """Write the final state of the build."""
        self.value.update(state=state, error=error, seconds_left=None)
        self.write(force=True)

    def write(self, force: bool = False) -> None:
        """Write the file, at most twice a second unless forced."""
        now = time.time()
        if not force and now - self.written < EVERY:
            return
        self.written = now
        self.value["updated"] = round(now, 3)
        plain = self.value | {"stages": [{k: v for k, v in s.items() if k != "_first"} for s in self.value["stages"]]}
        write_atomic(self.file, json.dumps(plain, ensure_ascii=False, indent=1))


def _waiting(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "state": "waiting",
        "seconds": 0,
        "done": 0,
        "total": 0,
        "text": "",
        "tokens_per_second": 0,
        "seconds_left": None,
    }


def read_status(folder: Path) -> dict[str, Any] | None:
    """Return the last status of a build, or None.

    A build whose folder is not locked is "stopped", whatever its status file states: its process has ended, even if
    another process now has the same number. A build that just started has no lock yet either; it counts as running
    until its own process has written a status (until then `spoken` is false).
    """
    file = folder / FILE
    try:
        value: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
    if value.get("state") == "running" and holder(folder) is None and not _starting(value):
        value["state"] = "stopped"
    return value


def _starting(value: Mapping[str, Any]) -> bool:
    if value.get("spoken", True) or time.time() - float(value.get("updated", 0)) > START_SECONDS:
        return False
    try:
        os.kill(int(value["pid"]), 0)
    except OSError:
        return False
    return True
