"""Files uploaded by clients: KAIWA_HOME/files/ID/data, and meta.json in the same folder, written last.

A folder without meta.json is an interrupted upload, and counts as no file.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from kaiwa.core.artifact import write_atomic
from kaiwa.core.errors import UserError
from kaiwa.serve.http.bounded_json import JSONObject
from kaiwa.serve.http.keys import is_visible

PURPOSES = ("fine-tune", "fine-tune-results")
FILE_ID = re.compile(r"file-[A-Za-z0-9]{1,40}")
MOST_BYTES = 512 << 20
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    id: str
    bytes: int
    created_at: int
    filename: str
    purpose: str
    owner: str = ""  # the name of the key that it came with, if that has one

    def to_json(self) -> JSONObject:
        """Return OpenAI's file object."""
        more = {"object": "file", "status": "processed", "status_details": None, "expires_at": None}
        return {name: value for name, value in asdict(self).items() if name != "owner"} | more


def label(name: str) -> str:
    """Return the printable last part of a client's file name, which is shown and never used as a path."""
    last = "".join(c for c in name.replace("\\", "/").rpartition("/")[2] if c.isprintable())
    return last[:200] if last.strip(". ") else "file"


class UploadedFiles:
    """The files in a folder, by id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, purpose: str, source: BinaryIO, id: str = "", *, owner: str = "") -> StoredFile:
        """Store the bytes of `source`. UserError for more than MOST_BYTES."""
        id = id or f"file-{secrets.token_hex(12)}"
        folder = self.folder / id
        folder.mkdir(parents=True, exist_ok=True)
        size = 0
        try:
            with open(folder / "data", "wb") as f:
                while chunk := source.read(CHUNK):
                    size += len(chunk)
                    if size > MOST_BYTES:
                        raise UserError(f"the file is larger than {MOST_BYTES:,} bytes; split it")
                    f.write(chunk)
            file = StoredFile(
                id=id,
                bytes=size,
                created_at=int(time.time()),
                filename=label(name),
                purpose=purpose,
                owner=owner,
            )
            write_atomic(folder / "meta.json", json.dumps(asdict(file), ensure_ascii=False))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return file

    def all(self, owner: str | None = None) -> list[StoredFile]:
        """Return the files that a request may see (keys.owner_of), newest first."""
        files = [f for f in map(self._read, self._folders()) if f is not None and is_visible(f.owner, owner)]
        return sorted(files, key=lambda file: (-file.created_at, file.id))

    def get(self, id: str, owner: str | None = None) -> StoredFile:
        """Return a file's record. UserError if there is no such file, or another key's."""
        file = self._read(self.folder / id) if FILE_ID.fullmatch(id) else None
        if file is None or not is_visible(file.owner, owner):
            raise UserError(f"no file {id[:60]!r}; upload one with POST /v1/files")
        return file

    def path(self, id: str) -> Path:
        self.get(id)
        return self.folder / id / "data"

    def delete(self, id: str) -> None:
        self.get(id)
        folder = self.folder / id
        (folder / "meta.json").unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)

    def _folders(self) -> Iterator[Path]:
        if self.folder.is_dir():
            yield from self.folder.iterdir()

    def _read(self, folder: Path) -> StoredFile | None:
        try:
            return StoredFile(**json.loads((folder / "meta.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
