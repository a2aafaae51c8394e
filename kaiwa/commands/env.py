"""kaiwa env: versions, processor, device and folders of this machine, to paste into a bug report."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from kaiwa.commands.options import read_options

PACKAGES = (
    "numpy",
    "torch",
    "tokenizers",
    "safetensors",
    "llguidance",
    "fastapi",
    "uvicorn",
    "pyarrow",
    "httpx",
    "tyro",
)
INSTRUCTIONS = ("avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


@dataclass(kw_only=True)
class Options:
    """Print versions, processor, device, folders and their sizes. Keys are not shown; your home folder is "~"."""

    json: bool = False  # print JSON instead of lines


def main(words: list[str]) -> None:
    """Print the facts of this machine."""
    options = read_options(Options, "kaiwa env", words)
    facts = collect()
    if options.json:
        print(json.dumps(facts, indent=1, ensure_ascii=False))
        return
    for title, rows in facts.items():
        print(f"{title}")
        width = max(map(len, rows), default=0)
        for name, value in rows.items():
            print(f"  {name:<{width}}  {value}")


def collect() -> dict[str, dict[str, str]]:
    """Return the facts by section, each name -> value."""
    return {"versions": versions(), "machine": machine(), "settings": settings(), "folders": folders()}


def versions() -> dict[str, str]:
    """Return the versions of kaiwa, Python, the system and the packages that decide results."""
    from kaiwa import __version__

    rows = {"kaiwa": __version__, "Python": platform.python_version(), "system": platform.platform()}
    for package in PACKAGES:
        try:
            rows[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            rows[package] = "not installed"
    return rows


def machine() -> dict[str, str]:
    """Return processor, memory, compiler, and what torch sees; the last only where torch is installed."""
    from kaiwa.core import compiled
    from kaiwa.core import machine as this_machine

    flags = compiled.processor_flags().split()
    rows = {
        "processor": this_machine.describe(),
        "instructions": " ".join(name for name in INSTRUCTIONS if name in flags) or "unknown",
        "memory free": f"{this_machine.free_memory_bytes() / 1e9:.1f} GB",
        "C++ compiler": compiled.compiler() or "none: torch's own kernels are used",
    }
    try:
        import torch
    except ModuleNotFoundError:
        return rows
    rows["device"] = this_machine.device()
    rows["threads"] = str(torch.get_num_threads())
    rows["torch computes with"] = torch.backends.cpu.get_cpu_capability()
    rows["CUDA of torch"] = str(torch.version.cuda or "none")
    for number in range(torch.cuda.device_count()):
        rows[f"cuda:{number}"] = torch.cuda.get_device_name(number)
    return rows


def settings() -> dict[str, str]:
    """Return the environment's variables that change kaiwa or its threads; the values of keys are hidden."""
    names = [n for n in sorted(os.environ) if n.startswith("KAIWA_") or n in ("OMP_NUM_THREADS", "CXX", "HTTPS_PROXY")]
    return {n: "(hidden)" if "KEY" in n or "PROXY" in n else without_home(os.environ[n]) for n in names}


def folders() -> dict[str, str]:
    """Return the folders that kaiwa writes, with their sizes and the free disk."""
    from kaiwa.core.home import home, runs

    places = {
        "environment": Path(sys.prefix),
        "KAIWA_HOME": home(),
        "caches": home() / "cache",
        "runs": runs().resolve(),
    }
    rows = {}
    for name, folder in places.items():
        size = f"{folder_bytes(folder) / 1e6:,.0f} MB" if folder.is_dir() else "not there"
        rows[name] = f"{without_home(str(folder))}  {size}"
    existing = next(p for p in (home(), *home().parents) if p.exists())
    rows["free disk"] = f"{shutil.disk_usage(existing).free / 1e9:.1f} GB"
    return rows


def folder_bytes(folder: Path) -> int:
    """Return the sum of the sizes of the files under a folder; links and files that vanish count nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            file = os.path.join(place, name)
            try:
                total += 0 if os.path.islink(file) else os.path.getsize(file)
            except OSError:
                continue
    return total


def without_home(path: str) -> str:
    """Return a path with "~" for the user's home folder, whose name is often the user's."""
    user = str(Path.home())
    return path if user in ("/", "") else re.sub(rf"{re.escape(user)}(?![^/:,\s])", "~", path)
