"""kaiwa's C++ code as shared libraries: compiled once for this processor, cached under KAIWA_HOME, loaded by ctypes.

Departure from torch.utils.cpp_extension: a plain C interface over pointers needs neither ninja nor the headers of torch
and Python, and compiles in seconds. This module does not import torch.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from kaiwa.core.errors import UserError
from kaiwa.core.home import home
from kaiwa.core.machine import is_running

BUILDING = "building-"  # prefix of a running compile's folder; the process number and a random suffix follow
OLD = 3600.0  # seconds after which a folder without a process number in its name is a leftover
FLAGS = ("-std=c++20", "-O3", "-march=native", "-shared", "-fPIC", "-pthread", "-w")

_failed: dict[Path, str] = {}  # library that could not be compiled -> error message
_compilers: set[subprocess.Popen[str]] = set()  # running compilers whose temporary folder is not yet removed
ABANDON_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class CppSource:
    """A folder of .cpp and .h files. main: the file to compile; name: of the library; what: the subject of messages."""

    folder: Path
    main: str
    name: str
    what: str
    flags: tuple[str, ...] = ()

    def file(self) -> Path:
        """Return the library's path; the name has a hash of sources, flags, compiler and processor."""
        parts = [p.read_bytes() for p in sorted(self.folder.iterdir()) if p.suffix in (".h", ".cpp")]
        parts += [" ".join(FLAGS + self.flags).encode(), str(compiler()).encode(), processor_flags().encode()]
        return home() / "cache" / f"{self.name}-{hashlib.sha256(b'|'.join(parts)).hexdigest()[:16]}.so"


def load(source: CppSource, file: Path) -> ctypes.CDLL:
    """Load a library, and compile the library first if `file` is missing.

    UserError if the compiler fails or the cache is not writable; a process tries each library only once.
    """
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


def abandon() -> None:
    """Stop running compilers and wait until their temporary folders are removed; call before a process exits early."""
    for process in list(_compilers):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + ABANDON_SECONDS
    while _compilers and time.monotonic() < deadline:
        time.sleep(0.01)


def _compile(source: CppSource, file: Path) -> None:
    """Compile to `file`, created completely or not at all. UserError with the compiler's first line on failure."""
    cache = file.parent
    cache.mkdir(parents=True, exist_ok=True)
    _delete_leftovers(cache)
    program = compiler()
    assert program is not None
    process: subprocess.Popen[str] | None = None
    try:
        with tempfile.TemporaryDirectory(dir=cache, prefix=f"{BUILDING}{os.getpid()}-") as folder:
            output = Path(folder) / "library.so"
            process = subprocess.Popen(
                [program, *FLAGS, *source.flags, str(source.folder / source.main), "-o", str(output)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | {"TMPDIR": folder},
                start_new_session=True,  # Ctrl-C does not reach it; `abandon` ends it with its children
            )
            _compilers.add(process)
            _, errors = process.communicate()  # takes seconds, once; a process that ends normally waits here
            if process.returncode:
                why = (errors.strip().splitlines() or ["no message"])[0]
                raise UserError(f"{program} cannot compile {source.what} (use KAIWA_STEP=torch): {why[:300]}")
            os.replace(output, file)
    finally:
        if process is not None:
            _compilers.discard(process)


def _delete_leftovers(cache: Path) -> None:
    """Delete the folders of killed compiles: the process in the name has ended, or an older kaiwa left the folder."""
    for folder in cache.glob(f"{BUILDING}*"):
        pid = folder.name.removeprefix(BUILDING).partition("-")[0]
        if pid.isdecimal() and not is_running(pid):
            shutil.rmtree(folder, ignore_errors=True)
    for folder in cache.glob("tmp*"):
        names = {path.name for path in folder.iterdir()} if folder.is_dir() else {""}
        if names <= {"made.so"} and time.time() - folder.stat().st_mtime > OLD:
            shutil.rmtree(folder, ignore_errors=True)
