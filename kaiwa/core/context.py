"""The context of a running stage: seed, process rank, device, callbacks for progress and messages, stop request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kaiwa.core.errors import Stopped
from kaiwa.core.metrics import MetricsLog


@dataclass(slots=True)
class Progress:
    """The progress of a stage, passed to `show`: `done` of `total` units, and a short text ("loss 2.31")."""

    stage: str
    done: int
    total: int
    text: str = ""
    tokens_per_second: float = 0.0
    build_seconds_left: float | None = None  # of the whole build, filled in by `Status`


@dataclass(slots=True)
class Context:
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    device: str = "cpu"
    threads: int = 0  # 0: one per core
    show: Callable[[Progress], None] = field(default=lambda progress: None)
    say: Callable[[str], None] = field(default=lambda line: None)  # prints one line for the user
    stop: Callable[[], bool] = field(default=lambda: False)
    logs: Path | None = None  # folder of the metrics logs; None: no logs
    curves: Callable[[str], Callable[[Mapping[str, Any]], None]] | None = None  # stage -> writer of its metrics' rows
    checkpoint_seconds: float = 30.0  # seconds between checkpoints: the most work that a kill can lose

    def metrics(self, stage: str) -> MetricsLog:
        """Return the metrics log of a stage."""
        listen = self.curves(stage) if self.curves is not None else None
        return MetricsLog(self.logs / f"{stage}.jsonl" if self.logs is not None else None, listen)

    def check_stop(self) -> None:
        """Raise Stopped if the user asked to stop. Call only where the state is saved or cheap to lose."""
        if self.stop():
            raise Stopped
