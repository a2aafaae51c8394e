"""C++ of ours as a shared library: compiled once for this processor, kept under KAIWA_HOME, loaded. No torch here.

Departure from torch.utils.cpp_extension: a plain C interface over pointers (ctypes) needs neither torch's nor Python's
headers nor ninja, and compiles in seconds.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from kaiwa.core.errors import UserError
from kaiwa.core.home import home

FLAGS = ("-std=c++20", "-O3", "-march=native", "-shared", "-fPIC", "-pthread", "-w")

_failed: dict[Path, str] = {}  # what could not be compiled, and why


@dataclass(frozen=True, slots=True)
class Source:
    """A folder of .cpp and .h of which `main` is compiled. name: of the file that is kept; what: for messages."""

    folder: Path
    main: str
    name: str
    what: str
    flags: tuple[str, ...] = ()

    def file(self) -> Path:
        """Named by what it is made from: sources, flags, compiler and processor."""
        parts = [p.read_bytes() for p in sorted(self.folder.iterdir()) if p.suffix in (".h", ".cpp")]
        parts += [" ".join(FLAGS + self.flags).encode(), str(compiler()).encode(), processor_flags().encode()]
        return home() / "cache" / f"{self.name}-{hashlib.sha256(b'|'.join(parts)).hexdigest()[:16]}.so"


def load(source: Source, file: Path) -> ctypes.CDLL:
    """Compiled first if `file` is not there. UserError when the compiler fails or nothing can be written: it is tried
    once in a process."""
    if file in _failed:
        raise UserError(_failed[file])
    if not os.path.isfile(file):
        try:
            _compile(source, file)
        except OSError as error:
            _failed[file] = f"{source.what} cannot be compiled to {file.parent} ({error})"
        except UserError as error:
            _failed[file] = str(error)
        if file in _failed:
            raise UserError(_failed[file])
    try:
        return ctypes.CDLL(str(file))
    except OSError as error:
        raise UserError(f"{file} cannot be loaded ({error}); delete it and start again") from None


def compiler() -> str | None:
    return shutil.which(os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++"))


def processor_flags() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("flags")), "")


def _compile(source: Source, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    named = compiler()
    assert named is not None
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        made = Path(folder) / "made.so"
        command = [named, *FLAGS, *source.flags, str(source.folder / source.main), "-o", str(made)]
        ended = subprocess.run(command, capture_output=True, text=True)  # seconds, once: a process that ends waits
        if ended.returncode:
            why = (ended.stderr.strip().splitlines() or ["no message"])[0]
            raise UserError(f"{named} cannot compile {source.what} (KAIWA_STEP=torch does without): {why[:300]}")
        os.replace(made, file)
