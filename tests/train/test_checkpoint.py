"""Checkpoints: the state and the log come back together, and a killed run's lines are replaced."""

import json
from pathlib import Path

import pytest
import torch

from kaiwa.core.context import Context
from kaiwa.core.errors import Stopped
from kaiwa.core.metrics import MetricsLog, read_metrics
from kaiwa.train.checkpoint import FILE, Saver, append_samples, load, resume, save


def test_state_and_log_come_back_together(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    assert resume(tmp_path / "c", log) is None
    log.log(1, loss=2.0)
    ctx = Context(checkpoint_seconds=0.0)
    Saver(tmp_path / "c", ctx, log, lambda: {"step": 1, "w": torch.arange(3)}).at_step()
    log.log(2, loss=1.0)  # then the run is killed
    state = resume(tmp_path / "c", log)
    assert state is not None
    assert state["step"] == 1
    assert state["w"].tolist() == [0, 1, 2]
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [1]


def test_a_request_to_stop_saves_first(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    saver = Saver(tmp_path / "c", Context(checkpoint_seconds=1e9, stop=lambda: True), log, lambda: {"step": 7})
    with pytest.raises(Stopped):
        saver.at_step()
    state = load(tmp_path / "c")
    assert state is not None
    assert state["step"] == 7


def test_no_code_is_loaded_and_nothing_half_written(tmp_path: Path) -> None:
    save(tmp_path, {"step": 1})
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    torch.save({"step": print}, tmp_path / FILE)
    with pytest.raises(Exception, match=r"weights_only|Weights only|Unsupported"):
        load(tmp_path)


def test_samples_of_a_killed_run_are_replaced(tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    append_samples(file, [], 0)
    assert not file.exists()
    for step, text in ((0, "a"), (10, "b"), (20, "c"), (10, "d")):
        append_samples(file, [json.dumps({"step": step, "text": text})], step)
    assert [json.loads(line)["text"] for line in file.read_text().splitlines()] == ["a", "d"]
