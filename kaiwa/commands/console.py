"""The terminal: a context with a progress bar, printed messages and a safe stop by Ctrl-C; text tables."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from kaiwa.core import machine
from kaiwa.core.context import Context, Progress

if TYPE_CHECKING:
    from kaiwa.lab.experiments.selftest import SelfCheck


def make_context(*, seed: int = 0, threads: int = 0, device: str | None = None, logs: Path | None = None) -> Context:
    """Return a context for this terminal. The first Ctrl-C asks the stage to stop safely, the second stops at once.

    device: an argument of `machine.device`; None for a stage without torch.
    """
    wish = StopWish()
    bar = Bar()
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    chosen = "cpu" if device is None else machine.device(device)  # imports torch, which reads OMP_NUM_THREADS once
    if chosen != "cpu":
        bar.say(f"computing on {chosen}; --device cpu is slower, and gives the same bytes every time")
    return Context(seed=seed, threads=threads, device=chosen, show=bar.show, say=bar.say, stop=wish, logs=logs)


class StopWish:
    """A callable that returns True after the first SIGINT or SIGTERM."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("\nstopping safely; press Ctrl-C again to stop at once", file=sys.stderr)

    def __call__(self) -> bool:
        return self.asked


class Bar:
    """The progress display: one bar per stage, redrawn on a terminal, printed every ten seconds elsewhere."""

    def __init__(self) -> None:
        self.live = sys.stderr.isatty()
        self.stage, self.began, self.last = "", 0.0, 0.0

    def show(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.stage != self.stage:
            if self.live and self.stage:
                print(file=sys.stderr)
            self.stage, self.began, self.last = progress.stage, now, 0.0
        if now - self.last < (0.2 if self.live else 10.0) and progress.done < progress.total:
            return
        self.last = now
        end = "\r" if self.live else "\n"
        print(f"{line(progress, now - self.began):<{79 if self.live else 0}}", end=end, file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        print(("\n" if self.live else "") + text, file=sys.stderr, flush=True)


def line(progress: Progress, seconds: float) -> str:
    """Return a progress as one line: stage, bar, share, steps, figures, speed, time left."""
    share = progress.done / max(1, progress.total)
    bar = "▓" * round(share * 16) + "░" * (16 - round(share * 16))
    time_left = clock(seconds / share - seconds) + " left" if 0 < share < 1 and seconds > 1 else ""
    if progress.build_seconds_left is not None:
        time_left += f"{',' if time_left else ''} build {clock(progress.build_seconds_left)}"
    speed = f"{progress.tokens_per_second / 1000:.1f}k tok/s" if progress.tokens_per_second else ""
    head, count = f"{progress.stage:<13}{bar} {share:4.0%}", f"{progress.done}/{progress.total}"
    return " ".join(part for part in (head, count, progress.text, speed, time_left) if part)


def clock(seconds: float) -> str:
    """Return seconds as minutes:seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def table(rows: list[list[str]], align: Callable[[int], str] = lambda column: "<" if column == 0 else ">") -> str:
    """Return rows of equal length as text columns; the first row is the heading."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:{align(i)}{widths[i]}}" for i, cell in enumerate(row)).rstrip() for row in rows]
    return "\n".join([lines[0], "─" * max(map(len, lines)), *lines[1:]])


def report_checks(checks: Sequence[SelfCheck]) -> None:
    """Print the checks of a selftest as a table. Exit with code 1 if a check fails."""
    rows = [["check", "measured", "expected", "", "what"]]
    for check in checks:
        mark = "ok" if check.passed else "FAILED"
        rows.append([check.name, f"{check.value:.3f}", f"{check.low:.3f} to {check.high:.3f}", mark, check.about])
    print(table(rows))
    if not all(check.passed for check in checks):
        sys.exit(1)
