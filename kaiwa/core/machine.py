"""The capabilities of this machine: cores, memory, devices, instruction sets. torch is imported only where needed."""

from __future__ import annotations

import ctypes
import functools
import os
import resource
import shutil
import subprocess
import sys
import sysconfig

from kaiwa.core.errors import UserError


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory_bytes() -> int:
    """Return the peak resident memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def free_memory_bytes() -> int:
    """Return the memory that processes can still allocate; the system's caches count as free."""
    try:
        with open("/proc/meminfo") as f:
            kilobytes = next(int(line.split()[1]) for line in f if line.startswith("MemAvailable:"))
        return kilobytes * 1024
    except (OSError, StopIteration, ValueError):
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def is_running(process: str) -> bool:
    """Return whether a process of this number is alive, anybody's; False for text that is no number."""
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True


def give_back_memory() -> None:
    """Give freed memory back to the system, where the C library can (glibc's)."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def device(requested: str = "") -> str:
    """Return the device to compute on: `requested`, else KAIWA_DEVICE ("cuda", "cuda:1", "mps", "cpu"), else the best.

    UserError for a device that this machine does not have.
    """
    import torch

    present = ["cuda"] * torch.cuda.is_available() + ["mps"] * torch.backends.mps.is_available() + ["cpu"]
    name = requested or os.environ.get("KAIWA_DEVICE", "") or present[0]
    kind, colon, number = name.partition(":")
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if kind not in present or (colon and not (number.isdecimal() and int(number) < count)):
        raise UserError(f"device {name!r} is not here, there is {', '.join(present)}; change --device or KAIWA_DEVICE")
    return name if kind == "cuda" else kind


@functools.cache
def has_bf16_products() -> bool:
    """Return whether the CPU multiplies bf16 in hardware (AVX-512 BF16 or AMX); elsewhere bf16 is slower than fp32."""
    import torch

    if os.environ.get("ATEN_CPU_CAPABILITY") == "default" or "ONEDNN_MAX_CPU_ISA" in os.environ:
        isa = os.environ.get("ONEDNN_MAX_CPU_ISA", "DEFAULT").upper()
        if os.environ.get("ATEN_CPU_CAPABILITY") == "default" or "BF16" not in isa:
            return False
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name)() for name in checks if hasattr(torch.cpu, name))


@functools.cache
def has_bf16_tiles() -> bool:
    """Return whether the CPU multiplies bf16 in tiles (AMX), 3 to 5 times faster than fp32.

    AVX-512 BF16 without AMX is slower than fp32.
    """
    import torch

    if not has_bf16_products() or "AMX" not in os.environ.get("ONEDNN_MAX_CPU_ISA", "AMX").upper():
        return False
    return hasattr(torch.cpu, "_is_amx_tile_supported") and torch.cpu._is_amx_tile_supported()


@functools.cache
def has_int4_kernel() -> bool:
    """Return whether torch's 4-bit CPU product is fast here, which requires AVX-512 (70 times slower without)."""
    import torch

    return hasattr(torch, "_weight_int4pack_mm_for_cpu") and "AVX512" in torch.backends.cpu.get_cpu_capability()


@functools.cache
def has_compiler() -> bool:
    """Return whether torch.compile can build its kernels, by a trial compile.

    torch.compile calls CXX, else g++ (on macOS clang++), and needs Python.h, which some systems do not install.
    """
    named = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(named) is None:
        return False
    command = [named, "-x", "c++", "-fsyntax-only", f"-I{sysconfig.get_path('include')}", "-"]
    return subprocess.run(command, input=b"#include <Python.h>\n", capture_output=True).returncode == 0


def describe() -> str:
    """Return the processor's name and the number of cores as one line for reports."""
    name = "unknown processor"
    try:
        with open("/proc/cpuinfo") as f:
            name = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), name)
    except OSError:
        import platform

        name = platform.processor() or name
    return f"{name}, {cores()} cores"
