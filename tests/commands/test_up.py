"""kaiwa up, as a person starts and stops it."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.running_server import make_model

pytest.importorskip("uvicorn")

from kaiwa.commands.build_progress import stage_text
from kaiwa.commands.up import main
from kaiwa.commands.web_app import _check_device
from kaiwa.core.errors import UserError


def start(folder: Path, *words: str) -> tuple[subprocess.Popen[str], str, list[str]]:
    """The process, its address, and what it said until then."""
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"KAIWA_HOME": str(folder / "home"), "PYTHONPATH": root, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "kaiwa", "up", "--no-browser", *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "kaiwa is at" in line:
            return process, line.split()[3], said
    raise AssertionError("".join(said))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as s:
        return int(s.getsockname()[1])


def test_serves_a_folder_and_stops_cleanly(tmp_path: Path) -> None:
    make_model(tmp_path / "outside", "sft")
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        file = tmp_path / "defence.toml"
        file.write_text('defence = "instruction+canary_filter"\nsecrets = ["open-sesame"]\n')
        words = ["--model", "outside", "--defence", str(file), "--per-key", "3"]
        process, address, said = start(tmp_path, "--port", str(port), *words)
        assert any(f"port {port} is in use" in line for line in said)
        assert not address.endswith(f":{port}")
    try:
        assert httpx.get(f"{address}/health").json()["defence"] == "instruction+canary_filter"
        assert "under the defence instruction+canary_filter" in httpx.get(f"{address}/chat").text
        assert "outside" in [m["id"] for m in httpx.get(f"{address}/v1/models").json()["data"]]
        body = {"model": "outside", "messages": [{"role": "user", "content": "the"}], "max_tokens": 3}
        assert httpx.post(f"{address}/v1/chat/completions", json=body, timeout=60).status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
    time.sleep(0.2)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/health")


def children(pid: int) -> list[int]:
    """Processes that any thread of a process has started."""
    files = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in files for child in file.read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux' /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_engine_ends_before_the_server_does_and_nothing_is_printed(tmp_path: Path, number: signal.Signals) -> None:
    """Stopped while its main thread waits, and while a model may still be loading."""
    make_model(tmp_path / "outside", "sft")
    process, _, _ = start(tmp_path, "--port", str(free_port()), "--model", "outside")
    assert process.stdout is not None
    try:
        (engine,) = children(process.pid)
        assert "OpenAI clients" in process.stdout.readline()
        time.sleep(0.7)  # it waits by then
        process.send_signal(number)
        assert process.wait(20) == 0
        assert not Path(f"/proc/{engine}").exists()
        assert process.stdout.read() == ""
    finally:
        process.kill()


def test_in_the_network_with_a_key(tmp_path: Path) -> None:
    """Both addresses and the picture are printed; each address logs in, and only the right one may load."""
    make_model(tmp_path / "outside", "sft")
    key = "a-key-of-more-than-sixteen"
    process, address, _ = start(
        tmp_path, "--port", str(free_port()), "--model", "outside", "--listen", "--api-key", key
    )
    assert process.stdout is not None
    try:
        said = [process.stdout.readline() for _ in range(12)]
        (other,) = [line.split()[-1] for line in said if line.startswith("in your network: ")]
        assert other.endswith(f"?key={key}")
        assert any("▄" in line for line in said)
        here = address.partition("/?")[0]
        for url, status in ((f"{here}/?key={key}", 403), (address, 202)):
            with httpx.Client(follow_redirects=True) as browser:
                assert browser.get(f"{here}/v1/models").status_code == 401
                assert "<html" in browser.get(url).text
                assert browser.get(f"{here}/v1/models").status_code == 200
                assert browser.post(f"{here}/api/engine/load", json={"model": "outside"}).status_code == status
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
        process.kill()


def test_a_device_that_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said at the start, in one line, and not when the first model loads."""
    monkeypatch.setenv("KAIWA_DEVICE", "gpu")
    with pytest.raises(UserError, match="KAIWA_DEVICE is 'gpu'"):
        _check_device()
    monkeypatch.setenv("KAIWA_DEVICE", "cuda:77")
    with pytest.raises(UserError, match="not here"):
        _check_device()
    monkeypatch.setenv("KAIWA_DEVICE", "cpu")
    _check_device()


def test_a_build_in_words() -> None:
    stage = {"name": "sft", "done": 0, "total": 10, "seconds_left": None}
    assert stage_text(stage, 120.0).split() == ["sft", "begins;", "the", "build", "has", "2.0", "min", "left"]
    assert stage_text(stage | {"done": 5, "seconds_left": 30.0}, None).split() == [
        "sft",
        "50",
        "%,",
        "0.5",
        "min",
        "left",
    ]


def test_bad_options(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    for words, told in (
        (["up", "--bild", "tiny"], "did you mean 'build'"),
        (["up", "--port", "x"], "not a whole number"),
        (["up", "--model", "nothing"], "no model 'nothing'"),
        (["up", "--listen"], "kaiwa up --listen --api-key kaiwa-"),
        (["up", "--api-key", "short"], "at least 16 characters"),
        (["chat", "nothing", "-p", "x"], "no model 'nothing'"),
    ):
        found = subprocess.run(
            [sys.executable, "-m", "kaiwa", *words],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": root},
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 2
        assert told in found.stderr
        assert found.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "key"),
    [
        ((), "from-the-environment"),
        (("--api-key", ""), ""),
        (("--api-key", "typed-key-of-mine-1234"), "typed-key-of-mine-1234"),
    ],
)
def test_a_key_that_is_typed_goes_before_the_environment(
    words: tuple[str, ...], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str] = []
    monkeypatch.setenv("KAIWA_API_KEY", "from-the-environment")
    monkeypatch.setattr("kaiwa.commands.web_app.up", lambda *_, access, **__: keys.append(access.api_key))
    main(list(words))
    assert keys == [key]
