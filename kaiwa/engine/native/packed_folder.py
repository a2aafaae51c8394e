"""The folder of packed copies of large models (packed_file.py): which model each is of, and their deletion. No torch
here."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from kaiwa.core.home import home
from kaiwa.core.machine import is_running

HEADER = 1 << 20  # bytes kept free for the file's header, which is known last
METADATA = "__metadata__"  # safetensors' place for strings: ours are {"folder": the model's}


def packed_cache() -> Path:
    """Return the folder of packed copies."""
    return home() / "cache" / "packed"


def forget(folder: Path) -> int:
    """Delete a model folder's packed copies, also of its earlier states, and unreadable ones. Return bytes freed."""
    freed, model_folder = 0, str(folder.resolve())
    for file in packed_cache().glob("*.safetensors"):
        if read_owner(file) in (model_folder, ""):
            freed += file.stat().st_size
            file.unlink(missing_ok=True)
    return freed


def read_owner(file: Path) -> str:
    """Return the model folder behind a packed file; "" if the file does not name a folder."""
    try:
        with open(file, "rb") as f:
            (length,) = struct.unpack("<Q", f.read(8))
            return str(json.loads(f.read(min(length, HEADER)))[METADATA]["folder"])
    except (OSError, struct.error, ValueError, KeyError, TypeError):
        return ""


def clear_parts() -> None:
    """Delete the unfinished files of killed loads."""
    for part in packed_cache().glob("*.part*"):
        if not is_running(part.suffix.removeprefix(".part").partition("-")[0]):
            part.unlink(missing_ok=True)
