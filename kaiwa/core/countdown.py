"""Lines about long work: how many bytes are done, and how long the rest takes."""

from __future__ import annotations

import time
from collections.abc import Callable

EVERY = 5.0  # seconds between two lines; shorter work says nothing


class Countdown:
    """Work of `total` bytes. `say` gets a line every few seconds, beginning with `what` ("reading x.gguf")."""

    def __init__(self, what: str, total: int, say: Callable[[str], None]) -> None:
        self.what, self.total, self.say, self.done = what, max(1, total), say, 0
        self.began = self.last = time.monotonic()

    def add(self, size: int) -> None:
        """Count `size` bytes more as done."""
        self.done += size
        now = time.monotonic()
        if now - self.last < EVERY or self.done >= self.total:
            return
        self.last = now
        rest = (now - self.began) / self.done * (self.total - self.done)
        self.say(f"{self.what}: {_size(self.done)} of {_size(self.total)}, {_duration(rest)} left")


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
