"""Download of a file over HTTP, resumable and checked.

Bytes go to NAME.part, which survives a kill: the next attempt requests the rest with a Range header. huggingface_hub
starts a file again in each process (its version 2 removes partial files), which is too slow for files of 7 GB.
Therefore kaiwa transfers the files itself, and uses the library for listings, names and authorization.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from kaiwa.core.errors import UserError
from kaiwa.hub.source import RemoteFile

CHUNK = 1 << 20
ATTEMPTS = 6  # consecutive attempts without a new byte
PATIENCE = 30.0  # seconds without a byte after which a connection counts as lost
Show = Callable[[int], None]  # called with the bytes of this file downloaded so far


class ChangedFileError(UserError):
    """A download that differs from the file in the listing."""


def fetch(
    client: httpx.Client,
    url: str,
    file: RemoteFile,
    target: Path,
    *,
    show: Show,
    say: Callable[[str], None],
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Download a file to `target` and check size and checksum. UserError if the download or the check fails."""
    if target.is_file() and is_as_announced(target, file):
        show(file.size)
        return
    part = target.with_name(target.name + ".part")
    for again in (False, True):
        _transfer(client, url, file, part, show=show, say=say, pause=pause)
        if is_as_announced(part, file):
            part.replace(target)
            return
        part.unlink()
        if not again:
            say(f"{file.name}: its checksum is wrong; downloading the file once more from the beginning")
    raise ChangedFileError(f"{file.name}: its checksum is not the one of the listing, twice; the file was deleted")


def is_as_announced(path: Path, file: RemoteFile) -> bool:
    """Return whether a file's size and checksum are the announced ones."""
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(b"blob %d\0" % file.size)
    with open(path, "rb") as f:
        while piece := f.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest() == (file.sha256 or file.git_sha1)


def _transfer(
    client: httpx.Client,
    url: str,
    file: RemoteFile,
    part: Path,
    *,
    show: Show,
    say: Callable[[str], None],
    pause: Callable[[float], None],
) -> None:
    """Append to `part` until the announced size is reached, reconnecting while attempts bring new bytes."""
    failures = 0
    while True:
        here = part.stat().st_size if part.is_file() else 0
        if here > file.size:
            part.unlink()
            here = 0
        show(here)
        if here == file.size:
            part.touch()  # a file of no bytes
            return
        wait, why = 1.0, "the connection ended early"
        try:
            wait = _append(client, url, file, part, here=here, show=show)
        except httpx.HTTPError as error:
            why = f"{type(error).__name__}"
        now = part.stat().st_size if part.is_file() else 0
        if now == file.size:
            continue
        failures = 0 if now > here else failures + 1
        if failures >= ATTEMPTS:
            raise UserError(
                f"{file.name}: no byte came in {ATTEMPTS} attempts ({why}); {now:,} of {file.size:,} bytes are kept;"
                " run the same command again to continue"
            )
        say(f"{file.name}: {why} at {now:,} of {file.size:,} bytes; going on from there")
        pause(min(30.0, max(wait, 0.5 * 2**failures)))


def _append(client: httpx.Client, url: str, file: RemoteFile, part: Path, *, here: int, show: Show) -> float:
    """Append what one connection brings. Return the seconds that the server asks to wait. httpx.HTTPError for a lost
    one."""
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={here}-"} if here else {})
    with client.stream("GET", url, headers=headers, timeout=PATIENCE) as answer:
        if answer.status_code in (408, 429) or answer.status_code >= 500:
            after = answer.headers.get("retry-after", "")
            return float(after) if after.isdigit() else 1.0
        if answer.status_code == 416:  # the server's file is shorter than the part here, so it has changed
            part.unlink(missing_ok=True)
            return 1.0
        if answer.status_code not in (200, 206):
            raise UserError(f"{file.name}: the hub answered {answer.status_code}; {_fix(answer.status_code)}")
        resumed = answer.status_code == 206
        start = _start(answer.headers.get("content-range", "")) if resumed else 0
        if start != here and resumed:
            raise ChangedFileError(f"{file.name}: bytes from {here:,} were requested, the server sends from {start:,}")
        with open(part, "ab" if resumed else "wb") as f:
            done = here if resumed else 0
            for piece in answer.iter_raw():  # written as they arrive, so that a lost connection loses nothing
                if done + len(piece) > file.size:
                    raise ChangedFileError(
                        f"{file.name}: more bytes come than the {file.size:,} announced; the file has changed"
                    )
                f.write(piece)
                done += len(piece)
                show(done)
    return 1.0


def _start(content_range: str) -> int:
    """Return the first number of a Content-Range such as "bytes 100-199/200", -1 for another format."""
    digits = content_range.removeprefix("bytes ").partition("-")[0]
    return int(digits) if digits.isdigit() else -1


def _fix(status: int) -> str:
    if status in (401, 403):
        return "a private or gated model needs HF_TOKEN in the environment"
    return "pull again to get a new listing" if status == 404 else "try again later"
