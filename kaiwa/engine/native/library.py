"""The C++ step's library, and the test of whether the machine supports the library. No torch here."""

from __future__ import annotations

import ctypes
import os
import threading
from pathlib import Path

from kaiwa.core.compiled import CppSource, compiler, load, processor_flags

STEP = CppSource(Path(__file__).parent / "csrc", "step.cpp", "step", "the C++ step", ("-ffp-contract=off",))
NEEDED = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni")


def machine_refusal() -> str:
    """Return why the machine cannot run the C++ step, as the beginning of a sentence; "" if possible."""
    if os.environ.get("KAIWA_STEP") == "torch":
        return "KAIWA_STEP says torch"
    flags = processor_flags().split()
    if os.environ.get("ATEN_CPU_CAPABILITY", "avx512").lower() != "avx512" or not all(f in flags for f in NEEDED):
        return "this processor has no AVX-512 with integer dot products"
    if compiler() is None and not is_built():
        return "there is no C++ compiler"
    return ""


def is_built() -> bool:
    return os.path.isfile(_file())  # also False where the folder cannot be read


def library() -> ctypes.CDLL:
    """Load the library, compiling first if necessary.

    UserError when the compiler fails or nothing can be written; a process tries only once.
    """
    loaded = load(STEP, _file())
    pointer, count = ctypes.c_void_p, ctypes.c_int64
    loaded.kaiwa_model.restype = pointer
    loaded.kaiwa_model.argtypes = [pointer] * 5
    loaded.kaiwa_forward.restype, loaded.kaiwa_forward.argtypes = None, [pointer, pointer]
    loaded.kaiwa_logits.restype, loaded.kaiwa_logits.argtypes = None, [pointer, count, pointer, pointer]
    loaded.kaiwa_sample.restype, loaded.kaiwa_sample.argtypes = None, [pointer, count, *[pointer] * 5]
    loaded.kaiwa_repack_gptq.restype = None
    loaded.kaiwa_repack_gptq.argtypes = [pointer, count, count, pointer, count, count, pointer]
    loaded.kaiwa_free.restype, loaded.kaiwa_free.argtypes = None, [pointer]
    return loaded


def is_exiting() -> bool:
    """Return whether the process is about to end, so background work should stop."""
    return not threading.main_thread().is_alive()


def _file() -> Path:
    return STEP.file()
