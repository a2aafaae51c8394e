"""Packed weights in a file: written once, mapped into memory ever after.

The file is in the safetensors format (names are ours: blocks.3.qkv.data, .scales, .bias, .order). A mapped file is
used in the system's page cache: nothing is copied, memory holds the weights once, and a second process shares them.
Where the file system keeps large files in large pages (ext4 and xfs of recent Linux), the step reads the mapping as
quickly as memory of its own; with pages of 4 KB reading takes longer (figures: docs/engine.md).
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import shutil
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kaiwa.core.countdown import Countdown
from kaiwa.core.errors import UserError
from kaiwa.engine.native.huge_pages import Arena
from kaiwa.engine.native.packed_folder import HEADER, METADATA, clear_parts, forget

ALIGNED = 64
PIECE = 64 << 20  # bytes that a thread maps at a time
READERS = 4  # threads that ask the disk for pages
WAITING = 2  # tensors that wait to be written
PATIENCE = 1 << 30  # bytes up to which a load waits for the disk
MARGIN = 64 << 20  # bytes of the disk that stay free
DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "I32": torch.int32, "U8": torch.uint8}
Say = Callable[[str], None]
Tensors = Iterable[tuple[str, Tensor]]


def store(file: Path, folder: Path, size: int, tensors: Tensors, say: Say) -> dict[str, Tensor]:
    """Write the tensors [...] made from `folder` and return them mapped from the file, by name.

    If the disk has no room for about `size` bytes, the tensors stay in memory, and `say` gets a line. The folder's
    earlier copies are deleted. UserError if the file cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    clear_parts()
    forget(folder)
    if shutil.disk_usage(file.parent).free < size * 1.1 + MARGIN:
        what = f"no room for the packed weights ({size / 1e9:.1f} GB)"
        say(f"{file.parent}: {what}; the next load is as slow as this one")
        arena = Arena()
        return {name: arena.keep(tensor) for name, tensor in tensors}
    part = file.with_suffix(f".part{os.getpid()}-{time.monotonic_ns()}")
    try:
        with open(part, "wb", buffering=0) as out:
            _write(out, folder, tensors, Countdown("packing the weights", size, say))
        mapped = _map_tensors(part)  # renaming the file later does not change the mapping
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UserError(f"{part}: cannot be written ({error.strerror})") from None
        raise
    publishing = threading.Thread(target=_publish, args=(part, file), name="publish")
    small = part.stat().st_size < PATIENCE
    publishing.start()
    if small:
        publishing.join()
    return mapped


def _publish(part: Path, file: Path) -> None:
    """Give the file its name after a flush to the disk, which takes longer than writing.

    The process does not end before.
    """
    with open(part, "rb") as f:
        os.fsync(f.fileno())
    part.replace(file)


def fetch(file: Path, say: Say) -> dict[str, Tensor] | None:
    """Return the tensors [...] of a packed file by name; None where there is no file, or a damaged one."""
    if not file.is_file():
        return None
    try:
        return _map_tensors(file)
    except (OSError, ValueError, KeyError, TypeError, struct.error, RuntimeError) as error:
        say(f"{file}: damaged ({error}); it is made anew")
        return None


def _write(out: Any, folder: Path, tensors: Tensors, countdown: Countdown) -> None:
    """Write header and tensors; each tensor is written while the next is made."""
    out.write(b" " * HEADER)
    index: dict[str, Any] = {METADATA: {"folder": str(folder.resolve())}}
    at = 0
    under_way: list[Future[None]] = []
    with ThreadPoolExecutor(1) as pool:
        for name, tensor in tensors:
            raw = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
            under_way.append(pool.submit(_write_all, out, raw))
            if len(under_way) > WAITING:
                under_way.pop(0).result()
            kind = next(k for k, dtype in DTYPES.items() if dtype == tensor.dtype)
            index[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [at, at + len(raw)]}
            at += len(raw) + -len(raw) % ALIGNED
            countdown.add(len(raw))
        for written in under_way:
            written.result()
    text = json.dumps(index, separators=(",", ":")).encode()
    if len(text) > HEADER - 8:
        raise UserError(f"the packed file's header is {len(text):,} bytes; at most {HEADER - 8:,} fit")
    out.seek(0)
    _write_all(out, np.frombuffer(struct.pack("<Q", HEADER - 8) + text.ljust(HEADER - 8), np.uint8))


def _write_all(out: Any, raw: np.ndarray) -> None:
    padding = np.zeros(-len(raw) % ALIGNED, np.uint8)
    for piece in (raw, padding):
        done = 0
        while done < len(piece):
            done += out.write(piece.data[done:])


def _map_tensors(file: Path) -> dict[str, Tensor]:
    with open(file, "rb") as f:
        (length,) = struct.unpack("<Q", f.read(8))
        index: Mapping[str, Any] = json.loads(f.read(length)) if length == HEADER - 8 else {}
        index = {name: entry for name, entry in index.items() if name != METADATA}
        size = os.fstat(f.fileno()).st_size
        if not index or size < HEADER + max(entry["data_offsets"][1] for entry in index.values()):
            raise ValueError("it is cut short")
        memory = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY)  # torch requires writable memory
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # this kernel has none: ordinary pages are slower, not wrong
            memory.madvise(mmap.MADV_HUGEPAGE)
    whole = np.frombuffer(memory, np.uint8)
    _read_ahead(whole)
    tensors = {}
    for name, entry in index.items():
        first, last = entry["data_offsets"]
        raw = torch.from_numpy(whole[HEADER + first : HEADER + last])
        tensors[name] = raw.view(DTYPES[entry["dtype"]]).view(entry["shape"])
    return tensors


def _read_ahead(memory: np.ndarray) -> None:
    """Read every page in the background, from the end, where the first blocks are.

    The first pass over the weights follows behind, and waits for pages not read yet.
    """
    starts = range(0, len(memory), PIECE)[::-1]

    def read_part(first: int) -> None:
        for start in starts[first::READERS]:
            memory[start : start + PIECE : mmap.PAGESIZE].max()

    for first in range(READERS):
        threading.Thread(target=read_part, args=(first,), name="pages", daemon=True).start()
