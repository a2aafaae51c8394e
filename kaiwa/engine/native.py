"""The C++ step's library: compiled once for this processor, kept under KAIWA_HOME, loaded. No torch here.

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
import threading
from pathlib import Path

from kaiwa.core.errors import UserError
from kaiwa.core.home import home

SOURCES = Path(__file__).parent / "csrc"
FLAGS = ("-std=c++20", "-O3", "-march=native", "-ffp-contract=off", "-shared", "-fPIC", "-pthread", "-w")
NEEDED = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni")


_failed: dict[Path, str] = {}  # what could not be compiled, and why


def lacking() -> str:
    """Why this machine cannot have the C++ step, as the beginning of a sentence; empty where it can."""
    if os.environ.get("KAIWA_STEP") == "torch":
        return "KAIWA_STEP says torch"
    flags = _processor_flags().split()
    if os.environ.get("ATEN_CPU_CAPABILITY", "avx512").lower() != "avx512" or not all(f in flags for f in NEEDED):
        return "this processor has no AVX-512 with integer dot products"
    if _compiler() is None and not is_built():
        return "there is no C++ compiler"
    return ""


def is_built() -> bool:
    return os.path.isfile(_file())  # also False where the folder cannot be read


def library() -> ctypes.CDLL:
    """Compiled first if it is not there. UserError when the compiler fails or nothing can be written: it is tried
    once in a process."""
    file = _file()
    if file in _failed:
        raise UserError(_failed[file])
    if not os.path.isfile(file):
        try:
            _compile(file)
        except OSError as error:
            _failed[file] = f"the C++ step cannot be compiled to {file.parent} ({error})"
        except UserError as error:
            _failed[file] = str(error)
        if file in _failed:
            raise UserError(_failed[file])
    try:
        loaded = ctypes.CDLL(str(file))
    except OSError as error:
        raise UserError(f"{file} cannot be loaded ({error}); delete it and start again") from None
    pointer, count = ctypes.c_void_p, ctypes.c_int64
    loaded.kaiwa_model.restype = pointer
    loaded.kaiwa_model.argtypes = [pointer] * 7
    loaded.kaiwa_forward.restype, loaded.kaiwa_forward.argtypes = None, [pointer, pointer]
    loaded.kaiwa_logits.restype, loaded.kaiwa_logits.argtypes = None, [pointer, count, pointer, pointer]
    loaded.kaiwa_sample.restype, loaded.kaiwa_sample.argtypes = None, [pointer, count, *[pointer] * 5]
    loaded.kaiwa_repack_gptq.restype = None
    loaded.kaiwa_repack_gptq.argtypes = [pointer, count, count, pointer, count, count, pointer]
    loaded.kaiwa_free.restype, loaded.kaiwa_free.argtypes = None, [pointer]
    return loaded


def leaving() -> bool:
    """Whether the process is about to end: what goes on in the background should stop."""
    return not threading.main_thread().is_alive()


def _file() -> Path:
    """Named by what it is made from: sources, flags, compiler and processor."""
    parts = [p.read_bytes() for p in sorted(SOURCES.iterdir()) if p.suffix in (".h", ".cpp")]
    parts += [" ".join(FLAGS).encode(), str(_compiler()).encode(), _processor_flags().encode()]
    return home() / "cache" / f"step-{hashlib.sha256(b'|'.join(parts)).hexdigest()[:16]}.so"


def _compiler() -> str | None:
    return shutil.which(os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++"))


def _processor_flags() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("flags")), "")


def _compile(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    compiler = _compiler()
    assert compiler is not None
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        made = Path(folder) / "step.so"
        command = [compiler, *FLAGS, str(SOURCES / "step.cpp"), "-o", str(made)]
        ended = subprocess.run(command, capture_output=True, text=True)  # seconds, once: a process that ends waits
        if ended.returncode:
            why = (ended.stderr.strip().splitlines() or ["no message"])[0]
            raise UserError(f"{compiler} cannot compile the C++ step (KAIWA_STEP=torch does without): {why[:300]}")
        os.replace(made, file)
