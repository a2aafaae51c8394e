"""Size and start-up time of an installation: the core alone, and what `make run` installs. Needs a package index.

    python bench/install.py

Builds the wheel, installs the core into a fresh environment and everything with scripts/install.py, and times commands
as a new user without caches: medians of five calls, processor named. Prints a table and writes results/install.md.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from kaiwa.core.machine import describe

ROOT = Path(__file__).parents[1]
CALLS = 5


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        rows = measure(Path(name))
    lines = [
        f"# Installation on {describe()}",
        "",
        "| what | figure |",
        "|---|---|",
        *(f"| {k} | {v} |" for k, v in rows),
    ]
    print("\n".join(lines))
    (ROOT / "bench" / "results" / "install.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def measure(folder: Path) -> list[tuple[str, str]]:
    """Return the table's rows."""
    call(sys.executable, "-m", "build", "--wheel", "--outdir", folder / "dist", ROOT)
    (wheel,) = (folder / "dist").glob("*.whl")
    call(sys.executable, "-m", "venv", folder / "core")
    call(folder / "core/bin/pip", "install", "--quiet", "--constraint", ROOT / "requirements.lock", wheel)
    core, everything = folder / "core" / "bin", folder / "venv" / "bin"
    rows = [
        ("core on disk, without pip", f"{megabytes(folder / 'core', '/pip'):.0f} MB"),
        ("`kaiwa --help`, core", seconds(core / "kaiwa", "--help")),
        (
            "`import kaiwa.lab` and its experiments, core",
            seconds(core / "python", "-c", "import kaiwa.lab.experiments.run"),
        ),
    ]
    started = time.monotonic()
    call(sys.executable, ROOT / "scripts" / "install.py", "--venv", folder / "venv")
    rows.append(("`make install`, packages near", f"{time.monotonic() - started:.0f} s"))
    rows.append(("`.venv` after `make run`", f"{megabytes(folder / 'venv'):.0f} MB"))
    user = folder / "user"
    user.mkdir()
    for title in ("first start", "second start"):
        page, answer = start(everything / "kaiwa", user)
        rows.append((f"{title}: page", f"{page:.1f} s"))
        rows.append((f"{title}: first answer", f"{answer:.1f} s"))
    left = sorted(path.name for path in user.iterdir() if path.name != "state")
    rows.append(("left in the home folder outside KAIWA_HOME", ", ".join(left) or "nothing"))
    return rows


def start(kaiwa: Path, user: Path) -> tuple[float, float]:
    """Start the server as `user`; return the seconds to the page and to the end of a first answer of 8 tokens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    variables = os.environ | {"HOME": str(user), "KAIWA_HOME": str(user / "state")}
    began = time.monotonic()
    with subprocess.Popen(
        [kaiwa, "up", "--no-browser", "--port", str(port)], cwd=user, env=variables, stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        server.stdout.readline()
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60).read()
        page = time.monotonic() - began
        body = {"model": "smollm2-135m-instruct", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8}
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/chat/completions",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=300).read()
        answer = time.monotonic() - began
        server.send_signal(signal.SIGINT)
    return page, answer


def call(*words: object) -> None:
    subprocess.run([*map(str, words)], check=True)


def seconds(*words: object) -> str:
    """Return the median seconds of a command, such as "0.04 s"."""
    times = []
    for _ in range(CALLS):
        started = time.monotonic()
        subprocess.run([*map(str, words)], check=True, capture_output=True)
        times.append(time.monotonic() - started)
    return f"{statistics.median(times):.2f} s"


def megabytes(folder: Path, without: str = "//") -> float:
    """Return the size of the files under a folder, links not counted, but those with `without` in their path."""
    files = (f for f in folder.rglob("*") if f.is_file() and not f.is_symlink() and without not in str(f))
    return sum(f.stat().st_size for f in files) / 1e6


if __name__ == "__main__":
    main()
