"""status.json of a build: which stage is where, for the terminal and the pages. Written whole, at most twice a second.

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
START_SECONDS = 600.0  # a process that has said nothing by then is not starting any more
LEAST_SHARE = 0.01  # of the usual whole: before that the pace is a guess


class Status:
    """Follows a build. `show` is what the stages' context calls; `watch` is told every change."""

    def __init__(self, folder: Path, recipe: str, stages: Mapping[str, float]) -> None:
        """stages: name -> seconds that the stage usually takes, in their order; only the proportions matter."""
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
        """Take a stage's progress; fill in the seconds that the build has left."""
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
        """Return the seconds to the build's end: what the stages to come usually take, at the pace of those done
        here so far.

        A stage that was finished before shows no progress and says nothing of the pace. None until there is a pace.
        """
        spent = expected = 0.0
        for stage in self.value["stages"]:
            if stage["done"] and stage["total"]:
                share = 1.0 if stage["state"] == "done" else stage["done"] / stage["total"]
                first, seconds = stage["_first"]  # before that, a resumed stage had been at work elsewhere
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
        """Run a stage inside the block; the build's state follows how the stage ends."""
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
            with contextlib.suppress(OSError):  # on a full disk the reason matters, not that it cannot be written
                self.end("failed", f"{name}: {error}")
            raise
        self.current.update(state="done", seconds=round(time.monotonic() - self.began, 1), seconds_left=0)
        self.current = None
        self.write(force=True)

    def end(self, state: str, error: str = "") -> None:
        """Write how the build ended."""
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

    A build whose folder nobody has locked is "stopped", whatever its status says: its process is gone, even where
    another one has its number now. A build that was started a moment ago has no lock either; until its own process has
    written a status (`spoken` is false) it counts as running.
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
