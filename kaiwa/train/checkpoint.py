"""Checkpoints: the whole state of a training loop in one file, replaced atomically.

A checkpoint is read with weights_only=True (tensors and plain values, no code), and only from kaiwa's own work folder.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from kaiwa.core.artifact import write_atomic
from kaiwa.core.context import Context
from kaiwa.core.metrics import MetricsLog

FILE = "state.pt"
LOGGED = "logged"  # bytes of the metrics log when the state was saved


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write the state to `folder`, completely or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{FILE}.tmp"
    with open(temporary, "wb") as f:
        torch.save(state, f)
        f.flush()
        os.fsync(f.fileno())
    os.replace(temporary, folder / FILE)


def load(folder: Path) -> dict[str, Any] | None:
    """Load the last saved state, or None. The file is never half-written, since saving ends with a rename."""
    file = folder / FILE
    if not file.is_file():
        return None
    state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return state


def resume(folder: Path, metrics: MetricsLog) -> dict[str, Any] | None:
    """Load the last saved state and cut the log back to its length; without one return None and empty the log."""
    saved = load(folder)
    metrics.cut(0 if saved is None else saved.get(LOGGED, 0))
    return saved


class Saver:
    """Periodic saving: a kill loses at most `ctx.checkpoint_seconds` of work, a request to stop loses none.

    The loop calls `at_step` between two steps. state: returns everything that the next steps depend on; the log's
    length is saved with it, for `resume`.
    """

    def __init__(self, folder: Path, ctx: Context, metrics: MetricsLog, state: Callable[[], dict[str, Any]]) -> None:
        self.folder, self.ctx, self.metrics, self.state = folder, ctx, metrics, state
        self.last = time.monotonic()

    def at_step(self) -> None:
        """Save the state if a save is due or the user asked to stop; raise Stopped in the latter case."""
        stop = self.ctx.stop()
        if stop or time.monotonic() - self.last >= self.ctx.checkpoint_seconds:
            save(self.folder, {**self.state(), LOGGED: self.metrics.size()})
            self.last = time.monotonic()
        if stop:
            self.ctx.check_stop()


def append_samples(path: Path, rows: list[str], step: int) -> None:
    """Append JSON lines that carry "step"; lines at or after `step` (of a killed run) are replaced."""
    if not rows:
        return
    old = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []  # splitlines would cut at U+2028
    earlier = [line for line in old if line and json.loads(line)["step"] < step]
    write_atomic(path, "\n".join([*earlier, *rows]) + "\n")
