"""Saved runs: what the page reads of their folders, and folders that are no runs."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from kaiwa.redteam.bench.saved_runs import list_runs, newest_share, read_run, read_transcripts
from kaiwa.stats.intervals import wilson

from .outcomes import cell

CELLS = [
    {"model": "m", "family": "leaking", "attack": "a", "defence": "none", "trials": 4, "successes": 1, "low": 0.05,
     "high": 0.7, "status": "ok"},
    {"model": "m", "family": "leaking", "attack": "b", "defence": "none", "trials": 0, "successes": 0, "low": None,
     "high": None, "status": "failed"},
    {"model": "n", "family": "leaking", "attack": "a", "defence": "none", "trials": 4, "successes": 4, "low": 0.5,
     "high": 1.0, "status": "ok"},
]  # fmt: skip
BENIGN = [
    {"model": "m", "defence": "none", "trials": 8, "blocked": 2, "utility": 0.5},
    {"model": "m", "defence": "x", "trials": 0, "blocked": 0, "utility": None},
]


def write(folder: Path, name: str, when: int, success: float | None = 0.25, **changes: Any) -> Path:
    run = folder / name
    run.mkdir(parents=True)
    (run / "matrix.json").write_text(json.dumps({"cells": CELLS, "benign": BENIGN} | changes))
    arms = [{"model": "m", "defence": "none", "success": {"mean": success, "low": 0.1, "high": 0.4, "n": 3}}]
    (run / "summary.json").write_text(json.dumps({"plan": {"target": "keeper"}, "arms": arms}))
    os.utime(run, (when, when))
    return run


def test_a_run_by_name(tmp_path: Path) -> None:
    write(tmp_path, "one", 1)
    run = read_run(tmp_path, "one")
    assert run is not None
    assert run.models == ["m", "n"]
    assert [arm["defence"] for arm in run.arms("m")] == ["none"]
    assert run.arms("n") == []


@pytest.mark.parametrize("name", ["missing", "../one", "", ".one", "a" * 70, "one/matrix.json"])
def test_names_that_are_no_runs(tmp_path: Path, name: str) -> None:
    write(tmp_path / "in", "one", 1)
    assert read_run(tmp_path / "in", name) is None


@pytest.mark.parametrize("text", ["{", "[]", '{"cells": []}', '{"cells": [], "benign": []}'])
def test_files_that_are_no_matrix(tmp_path: Path, text: str) -> None:
    (write(tmp_path, "one", 1) / "matrix.json").write_text(text)
    assert read_run(tmp_path, "one") is None
    assert list_runs(tmp_path) == []


def test_the_newest_comes_first_and_says_the_rate(tmp_path: Path) -> None:
    write(tmp_path, "old", 1_000, success=0.9)
    write(tmp_path, "new", 2_000, success=0.2)
    write(tmp_path, "newest", 3_000, success=None)
    runs = list_runs(tmp_path)
    assert [run.name for run in runs] == ["newest", "new", "old"]
    share = newest_share(runs, "keeper", "m", "none")
    assert share is not None
    assert share["mean"] == 0.2, "a run that measured nothing is passed over"
    assert newest_share(runs, "keeper", "m", "sandwich") is None
    assert newest_share(runs, "other", "m", "none") is None


def test_heat_cells_and_costs_come_from_the_counts(tmp_path: Path) -> None:
    write(tmp_path, "one", 1)
    run = read_run(tmp_path, "one")
    assert run is not None
    found = run.heat_cells("m")
    assert list(found) == [("a", "none"), ("b", "none")]
    assert found["a", "none"].share == {"mean": 0.25, "low": 0.05, "high": 0.7, "n": 4}
    assert found["b", "none"].share["mean"] is None
    costs = run.benign_costs("m")
    assert costs["none"].refused == wilson(2, 8).to_json()
    assert costs["none"].useless == wilson(4, 8).to_json()
    assert costs["x"].refused is None


def test_transcripts_of_one_cell(tmp_path: Path) -> None:
    folder = write(tmp_path, "one", 1)
    outcomes = [
        *cell("a", "none", "sr", user_turns=("hi",), replies=("no",)),
        *cell("a", "x", "s"),
        *cell("b", "none", "s"),
    ]
    outcomes += cell("a", "none", "s", kind="control")
    (folder / "outcomes.jsonl").write_text("".join(json.dumps(o.to_json()) + "\n" for o in outcomes))
    run = read_run(tmp_path, "one")
    assert run is not None
    assert read_transcripts(run, "m", "a", "none") == outcomes[:2]
    assert read_transcripts(run, "m", "a", "y") == []
