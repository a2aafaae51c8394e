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
from conftest import make_model

pytest.importorskip("uvicorn")


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
        process, address, said = start(tmp_path, "--port", str(port), "--model", "outside")
        assert any(f"port {port} is in use" in line for line in said)
        assert not address.endswith(f":{port}")
    try:
        assert httpx.get(f"{address}/health").status_code == 200
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


def test_bad_options(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    for words, told in (
        (["up", "--bild", "tiny"], "did you mean 'build'"),
        (["up", "--port", "x"], "not a number"),
        (["up", "--model", "nothing"], "no model 'nothing'"),
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
