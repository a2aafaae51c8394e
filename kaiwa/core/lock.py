"""The lock of a build folder: only one process writes there at a time, and other processes can see which.

The lock is the operating system's (flock on .lock) and ends with its process, also after a crash. A locked folder
therefore means a running process. A process number in a file does not: the system reuses numbers.
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
PATIENCE = 0.5  # seconds; `holder` in another process takes the lock for an instant


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder while the block runs. UserError with the process number if another process holds it."""
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
    """Return the number of the process that holds a folder's lock (0: not yet written), or None if it is free."""
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
