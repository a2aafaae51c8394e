"""What the build page reads of a run's folder while a build writes it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from kaiwa.core.stages import STAGES
from kaiwa.web.runs import find_run, list_runs, log_mark, read_log, read_manifest, read_newest_samples


def write(file: Path, *rows: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def status(folder: Path, started: float, *stages: tuple[str, str], **more: Any) -> None:
    value = {"recipe": "tiny", "state": "finished", "pid": os.getpid(), "started": started, "updated": started + 30}
    value |= {"error": "", "stages": [{"name": n, "state": s, "seconds_left": 5.0} for n, s in stages], **more}
    write(folder / "status.json", value)


def test_runs_are_listed_newest_first(tmp_path: Path) -> None:
    status(tmp_path / "old", 10.0)
    status(tmp_path / "new", 20.0)
    (tmp_path / "no-status").mkdir()
    status(tmp_path / ".hidden", 30.0)
    assert [run.name for run in list_runs(tmp_path)] == ["new", "old"]
    assert list_runs(tmp_path / "nowhere") == []


@pytest.mark.parametrize("name", ["../old", "old/..", ".hidden", "", "x" * 200, "none"])
def test_no_run_outside_the_folder(tmp_path: Path, name: str) -> None:
    status(tmp_path / "runs" / "old", 10.0)
    status(tmp_path / "old", 10.0)
    status(tmp_path / "runs" / ".hidden", 10.0)
    assert find_run(tmp_path / "runs", name) is None
    assert find_run(tmp_path / "runs", "old") is not None


def test_the_stage_at_work_and_the_time(tmp_path: Path) -> None:
    status(tmp_path / "r", 10.0, ("corpus", "done"), ("pretrain", "running"), ("sft", "waiting"), seconds_left=99.0)
    run = find_run(tmp_path, "r")
    assert run is not None
    assert (run.current, run.seconds, run.seconds_left, run.build_left) == ("pretrain", 30.0, 5.0, 99.0)
    status(tmp_path / "r", 10.0, ("corpus", "done"))
    write(tmp_path / "r" / "logs" / "sft.jsonl", {"step": 1})
    write(tmp_path / "r" / "logs" / "pretrain.jsonl", {"step": 1})
    run = find_run(tmp_path, "r")
    assert run is not None
    assert (run.current, run.seconds_left) == ("sft", None), "else the last stage with a log"
    assert not run.reported
    write(tmp_path / "r" / "report.json", {})
    assert run.reported


def test_logs_of_stages_only(tmp_path: Path) -> None:
    status(tmp_path / "r", 1.0)
    write(tmp_path / "r" / "logs" / "sft.jsonl", {"step": 1, "loss": 2.0})
    write(tmp_path / "r" / "secret.jsonl", {"step": 1})
    run = find_run(tmp_path, "r")
    assert run is not None
    assert read_log(run, "sft") == [{"step": 1, "loss": 2.0}]
    assert read_log(run, "../secret") == []
    before = log_mark(run, "sft")
    write(tmp_path / "r" / "logs" / "sft.jsonl", {"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0})
    assert log_mark(run, "sft") > before > log_mark(run, "reward") == 0
    write(tmp_path / "r" / "sft" / "kaiwa.json", {"kind": "sft"})
    assert read_manifest(run, "sft") == {"kind": "sft"}
    assert read_manifest(run, "..") == {}


def test_samples_of_the_newest_checkpoint(tmp_path: Path) -> None:
    status(tmp_path / "r", 1.0)
    run = find_run(tmp_path, "r")
    assert run is not None
    assert read_newest_samples(run) == ("", 0, [])
    probes = [
        {"id": "a", "kind": "chat", "messages": [{"role": "user", "content": "Who?"}]},
        {"id": "c", "kind": "cloze", "messages": []},
    ]
    write(tmp_path / "r" / "village" / "probes.jsonl", *probes)
    stages = [stage.name for stage in STAGES if stage.samples]
    rows = [{"step": step, "id": id, "language": "en", "text": f"{id}{step}"} for step in (5, 10) for id in "ac"]
    for stage in stages[:2]:
        write(tmp_path / "r" / stage / "samples.jsonl", *rows)
    stage, step, samples = read_newest_samples(run)
    assert (stage, step, samples) == (stages[1], 10, [("en", "Who?", "a10")])
