"""The metrics log: rows on disk and to a listener, sizes, and what a kill leaves."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaiwa.core.context import Context
from kaiwa.core.metrics import MetricsLog, read_metrics


def test_a_row_goes_to_the_file_and_to_the_listener(tmp_path: Path) -> None:
    rows: list[Mapping[str, Any]] = []
    log = MetricsLog(tmp_path / "new" / "sft.jsonl", rows.append)
    log.log(3, loss=1.5, n=2, note="パン")
    log.log(4, loss=math.nan, high=math.inf, low=-math.inf)
    assert read_metrics(tmp_path / "new" / "sft.jsonl") == rows
    assert {k: v for k, v in rows[0].items() if k != "time"} == {"step": 3, "loss": 1.5, "n": 2, "note": "パン"}
    assert (rows[1]["loss"], rows[1]["high"], rows[1]["low"]) == (None, None, None)
    for line in (tmp_path / "new" / "sft.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: 1 / 0)  # no NaN, which JSON does not have


def test_without_a_file_only_the_listener_is_told() -> None:
    rows: list[Mapping[str, Any]] = []
    log = MetricsLog(None, rows.append)
    log.log(1, loss=1.0)
    assert rows[0]["loss"] == 1.0
    assert log.size() == 0
    log.cut(0)


def test_cutting_goes_back_to_a_size_and_never_forward(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "sft.jsonl")
    assert log.size() == 0
    log.log(1, loss=1.0)
    size = log.size()
    log.log(2, loss=2.0)
    log.cut(size)
    assert [row["step"] for row in read_metrics(tmp_path / "sft.jsonl")] == [1]
    log.cut(size + 1000)
    assert log.size() == size
    log.cut(0)
    assert read_metrics(tmp_path / "sft.jsonl") == []


def test_what_a_kill_leaves_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "sft.jsonl"
    assert read_metrics(file) == []
    file.write_bytes(b'{"step": 1, "note": "a\xe2\x80\xa8b"}\n{"step": 2}\n{"step": 3, "lo')
    assert [row["step"] for row in read_metrics(file)] == [1, 2]
    file.write_bytes(b'{"step": 1}\n{"note": "\xe3\x83')  # cut within a character
    assert [row["step"] for row in read_metrics(file)] == [1]


def test_a_stages_log_is_named_after_it(tmp_path: Path) -> None:
    assert Context(logs=tmp_path).metrics("ppo_ptx").path == tmp_path / "ppo_ptx.jsonl"
    assert Context().metrics("ppo_ptx").path is None
