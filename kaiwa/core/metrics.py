"""Metrics: named scalars, one JSON object per line, appended and flushed; the terminal and the pages follow the file.

A checkpoint stores the length of the log. A resumed stage cuts off the rows that were written after its checkpoint.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class MetricsLog:
    """A log of rows {"step", "time", **scalars} in a JSONL file (none if path is None); `listen` receives each row."""

    def __init__(self, path: Path | None = None, listen: Callable[[Mapping[str, Any]], None] | None = None) -> None:
        self.path = path
        self.listen = listen
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)

    def log(self, step: int, **scalars: float | int | str) -> None:
        """Append one row of named scalars."""
        row: dict[str, Any] = {"step": step, "time": round(time.time(), 3)}
        for name, value in scalars.items():
            row[name] = value if not isinstance(value, float) or math.isfinite(value) else None
        if self.path is not None:
            with open(self.path, "a", encoding="utf-8") as f:
                f.write(json.dumps(row, ensure_ascii=False) + "\n")
        if self.listen is not None:
            self.listen(row)

    def size(self) -> int:
        """Return the number of bytes logged so far."""
        return self.path.stat().st_size if self.path is not None and self.path.is_file() else 0

    def cut(self, size: int) -> None:
        """Delete every row past the first `size` bytes."""
        if self.path is not None and self.size() > size:
            os.truncate(self.path, size)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a log without a half-written last line."""
    rows = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                continue
    return rows
