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


def test_samples_of_any_text_are_read_back_and_replaced_from_a_step_on(tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"

    def texts(step: int, *replies: str) -> list[str]:
        return [json.dumps({"step": step, "text": text}, ensure_ascii=False) for text in replies]

    append_samples(file, [], 1)
    assert not file.exists()
    append_samples(file, texts(1, "a\u2028b", "c\x85d", "e\nf\r"), 1)  # line separators in a model's answer
    append_samples(file, texts(2, "g"), 2)
    append_samples(file, texts(3, "h"), 3)
    append_samples(file, texts(2, "i"), 2)  # a killed run comes to step 2 again
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
    assert [(row["step"], row["text"]) for row in rows] == [
        (1, "a\u2028b"), (1, "c\x85d"), (1, "e\nf\r"), (2, "i"),
    ]  # fmt: skip
