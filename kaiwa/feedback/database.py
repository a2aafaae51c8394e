"""The SQLite file that holds what people said and judged: opening, transactions, reading.

Write-ahead logging lets several processes read and write (a server, a command); a lock guards the one connection of a
process, whose calls take well under a millisecond.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.feedback.migrations import migrate

BUSY_SECONDS = 10.0  # to wait for another process's transaction


class Database:
    """A database file, created if missing. Safe to share between threads."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self.file = file
        self._lock = threading.RLock()
        try:
            self._db = sqlite3.connect(file, check_same_thread=False, isolation_level=None, timeout=BUSY_SECONDS)
            self._db.row_factory = sqlite3.Row
            for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
                self._db.execute(f"PRAGMA {pragma}")
            migrate(self._db)
        except sqlite3.DatabaseError as error:
            raise UserError(f"{file}: cannot be opened as a database ({error}); move it away to begin anew") from None

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction, or take part in the one that this thread has open.

        UserError where the disk is full or another process holds the file too long.
        """
        try:
            with self._lock:
                if self._db.in_transaction:
                    yield self._db
                    return
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                    self._db.execute("COMMIT")
                except BaseException:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise
        except sqlite3.OperationalError as error:
            if "full" in str(error):
                raise UserError(f"{self.file}: the disk is full; free some space", code="disk_full") from None
            if "locked" in str(error) or "readonly" in str(error):
                raise UserError(f"{self.file}: cannot be written now ({error}); try again", code="busy") from None
            raise

    def rows(self, query: str, values: tuple[Any, ...] | Mapping[str, Any] = ()) -> list[sqlite3.Row]:
        with self._lock:
            return self._db.execute(query, values).fetchall()
