"""Where the packed copies of large models lie (packed_file.py), whose each is, and how they go. No torch here."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

from kaiwa.core.home import home

HEADER = 1 << 20  # bytes kept free for the file's header, which is known last
METADATA = "__metadata__"  # safetensors' place for strings: ours are {"folder": the model's}


def place() -> Path:
    return home() / "cache" / "packed"


def forget(folder: Path) -> int:
    """Deletes a model folder's packed copies, those of its earlier states too, and what nobody can read. -> bytes."""
    freed, whose = 0, str(folder.resolve())
    for file in place().glob("*.safetensors"):
        if owner(file) in (whose, ""):
            freed += file.stat().st_size
            file.unlink(missing_ok=True)
    return freed


def owner(file: Path) -> str:
    """The model folder that a packed file was made from; empty where the file does not tell."""
    try:
        with open(file, "rb") as f:
            (length,) = struct.unpack("<Q", f.read(8))
            return str(json.loads(f.read(min(length, HEADER)))[METADATA]["folder"])
    except (OSError, struct.error, ValueError, KeyError, TypeError):
        return ""


def clear_parts() -> None:
    """Removes what loads left that were killed."""
    for left in place().glob("*.part*"):
        if not _alive(left.suffix.removeprefix(".part").partition("-")[0]):
            left.unlink(missing_ok=True)


def _alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True
