"""C++ of ours as a shared library: compiled once for this processor, kept under KAIWA_HOME, loaded. No torch here.

Departure from torch.utils.cpp_extension: a plain C interface over pointers (ctypes) needs neither torch's nor Python's
headers nor ninja, and compiles in seconds.
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

BUILDING = "building-"  # how a folder of a compile under way begins; the process and a random end follow
OLD = 3600.0  # seconds after which a folder that names no process is a leftover
FLAGS = ("-std=c++20", "-O3", "-march=native", "-shared", "-fPIC", "-pthread", "-w")

_failed: dict[Path, str] = {}  # what could not be compiled, and why
_compilers: set[subprocess.Popen[str]] = set()  # those that run, until their temporary folder is removed
ABANDON_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class CppSource:
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


def load(source: CppSource, file: Path) -> ctypes.CDLL:
    """Load a library, compiling it first if `file` is missing. UserError when the compiler fails or nothing can be
    written: it is tried once in a process."""
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
    """Stop compilers that run and wait until their temporary folders are removed: for a process that ends at once."""
    for process in list(_compilers):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + ABANDON_SECONDS
    while _compilers and time.monotonic() < deadline:
        time.sleep(0.01)


def _compile(source: CppSource, file: Path) -> None:
    """Compile to `file`, which appears whole or not at all. UserError with the compiler's first line if it fails."""
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
            _, errors = process.communicate()  # seconds, once: a process that ends normally waits for it
            if process.returncode:
                why = (errors.strip().splitlines() or ["no message"])[0]
                raise UserError(f"{program} cannot compile {source.what} (KAIWA_STEP=torch does without): {why[:300]}")
            os.replace(output, file)
    finally:
        if process is not None:
            _compilers.discard(process)


def _delete_leftovers(cache: Path) -> None:
    """Delete the folders of compiles that were killed: their process is gone, or (an older kaiwa's) they name none."""
    for folder in cache.glob(f"{BUILDING}*"):
        pid = folder.name.removeprefix(BUILDING).partition("-")[0]
        if pid.isdecimal() and not _is_running(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)
    for folder in cache.glob("tmp*"):
        names = {path.name for path in folder.iterdir()} if folder.is_dir() else {""}
        if names <= {"made.so"} and time.time() - folder.stat().st_mtime > OLD:
            shutil.rmtree(folder, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
