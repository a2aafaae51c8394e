"""The lock of a build folder: one process works in it at a time, and anybody can see whether one does.

The lock is the system's (flock on .lock) and goes with its process, however that ends. So a locked folder means a
living process, which a process number in a file does not: numbers are given out again.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from kaiwa.core.errors import UserError

FILE = ".lock"
PATIENCE = 0.5  # seconds: somebody who looks whether the folder is locked holds the lock for an instant


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold the folder while the block runs. UserError, which names the process, when another one holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / FILE, "a+") as f:
        if not _take(f, PATIENCE):
            f.seek(0)
            raise UserError(
                f"{folder}: process {f.read().strip() or '?'} is working here; wait for it, stop it, or use --out"
            )
        f.truncate(0)
        f.write(str(os.getpid()))
        f.flush()
        yield


def holder(folder: Path) -> int | None:
    """Return the number of the process that works in a folder (0: not yet written), or None."""
    try:
        with open(folder / FILE) as f:
            return None if _take(f) else int(f.read() or 0)
    except FileNotFoundError:
        return None


def _take(file: IO[str], patience: float = 0.0) -> bool:
    """Take the lock if it is free within `patience` seconds. The lock ends when the file is closed."""
    import fcntl

    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        else:
            return True
