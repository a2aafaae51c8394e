"""Builds over HTTP, with a stub in the build's place."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from kaiwa.core.errors import UserError
from kaiwa.serve.tuning.builds import BuildJobs
from tests.running_server import STUB, Running


def wait_for(jobs: BuildJobs, run: str, state: str) -> None:
    deadline = time.monotonic() + 60
    while jobs.get(run).status["state"] != state or (state == "running" and "nice" not in jobs.get(run).status):
        assert time.monotonic() < deadline, jobs.get(run).status
        time.sleep(0.05)


def test_start_follow_stop(server: Running) -> None:
    post = lambda path, **body: httpx.post(f"{server.url}/api/jobs{path}", json=body)  # noqa: E731
    assert post("", recipe="lap").status_code == 404
    assert post("", recipe="tiny").status_code == 201
    wait_for(server.services.jobs, "tiny", "running")
    assert server.services.jobs.get("tiny").status["nice"] >= 10
    assert post("", recipe="tiny").status_code == 409
    names, rows = [], []
    with httpx.stream("GET", f"{server.url}/api/jobs/tiny/events", timeout=20) as response:
        for line in response.iter_lines():
            if line.startswith("event: "):
                names.append(line[7:])
            elif line.startswith("data: ") and names[-1] == "rows":
                rows += json.loads(line[6:])
                if len(names) > 3 and "stopping" not in names:
                    names.append("stopping")
                    assert post("/tiny/stop").status_code == 200
    assert names[-1] == "end"
    assert [row["row"]["step"] for row in rows] == list(range(len(rows)))
    assert httpx.get(f"{server.url}/api/jobs/tiny").json()["state"] == "stopped"
    assert post("/tiny/stop").status_code == 409
    assert [job["run"] for job in httpx.get(f"{server.url}/api/jobs").json()["jobs"]] == ["tiny"]
    for run in ("nothing", "..", "%2e%2e%2fx"):
        assert httpx.get(f"{server.url}/api/jobs/{run}/events").status_code == 404


def test_a_build_survives_the_server(tmp_path: Path) -> None:
    stub = tmp_path / "stub.py"
    stub.write_text(STUB)
    command = [sys.executable, str(stub)]
    code = f"""
from pathlib import Path
from kaiwa.serve.tuning.builds import BuildJobs
import time
BuildJobs(Path({str(tmp_path)!r}), {command!r}).start("tiny")
while not (Path({str(tmp_path)!r}) / "tiny" / "status.json").is_file(): time.sleep(0.05)
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    jobs = BuildJobs(tmp_path, command)  # another process' jobs
    wait_for(jobs, "tiny", "running")
    with pytest.raises(UserError, match="already"):
        jobs.start("tiny")
    jobs.stop("tiny")
    wait_for(jobs, "tiny", "stopped")


def test_a_recipe_file_is_built_in_the_folder_of_its_name(tmp_path: Path) -> None:
    stub, mine = tmp_path / "stub.py", tmp_path / "mine.py"
    stub.write_text(STUB)
    jobs = BuildJobs(tmp_path / "runs", [sys.executable, str(stub)], recipes=("tiny", str(mine)))
    assert jobs.start(str(mine)).run == "mine"
    wait_for(jobs, "mine", "running")
    assert jobs.get("mine").status["recipe"] == str(mine)
    with pytest.raises(UserError, match="already"):
        jobs.start(str(mine))
    jobs.stop("mine")
    assert jobs.wait("mine", 60)


def test_two_requests_at_once_start_one_build(tmp_path: Path) -> None:
    stub = tmp_path / "stub.py"
    stub.write_text(STUB)
    jobs = BuildJobs(tmp_path, [sys.executable, str(stub)])
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(jobs.start, "tiny") for _ in range(4)]
    assert sum(one.exception() is None for one in asked) == 1
    jobs.stop("tiny")
    assert jobs.wait("tiny", 60)


def test_a_killed_build_is_not_running(tmp_path: Path) -> None:
    stub = tmp_path / "stub.py"
    stub.write_text(STUB)
    jobs = BuildJobs(tmp_path, [sys.executable, str(stub)])
    jobs.start("tiny")
    wait_for(jobs, "tiny", "running")
    os.kill(int(jobs.get("tiny").status["pid"]), signal.SIGKILL)
    time.sleep(0.3)
    wait_for(jobs, "tiny", "stopped")
    jobs.start("tiny")
    wait_for(jobs, "tiny", "running")
    jobs.stop("tiny")
    assert jobs.wait("tiny", 60)


def test_a_build_that_dies_at_once_says_why(tmp_path: Path) -> None:
    jobs = BuildJobs(tmp_path, [sys.executable, "-c", "raise SystemExit('kaiwa: no such thing')"])
    assert jobs.start("tiny").status["state"] == "running"
    wait_for(jobs, "tiny", "failed")
    assert jobs.get("tiny").status["error"] == "kaiwa: no such thing"


def test_a_log_that_was_cut_is_told_again(tmp_path: Path) -> None:
    logs = tmp_path / "tiny" / "logs"
    logs.mkdir(parents=True)
    (logs / "sft.jsonl").write_text('{"step": 0}\n{"step": 1}\n{"st')
    jobs, offsets = BuildJobs(tmp_path), {}
    assert [r["row"]["step"] for r in jobs.log_rows("tiny", offsets)] == [0, 1]
    assert jobs.log_rows("tiny", offsets) == []
    (logs / "sft.jsonl").write_text('{"step": 0}\n')
    assert jobs.log_rows("tiny", offsets) == [{"stage": "sft", "reset": True}, {"stage": "sft", "row": {"step": 0}}]
