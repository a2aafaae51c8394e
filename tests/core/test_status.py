"""The status of a build and the metrics log."""

import json
import os
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from kaiwa.core import status as status_module
from kaiwa.core.context import Progress
from kaiwa.core.errors import Stopped
from kaiwa.core.lock import lock
from kaiwa.core.metrics import MetricsLog, read_metrics
from kaiwa.core.status import Status, read_status
from tests.module_clock import replace_clock


def test_a_build_that_goes_well(tmp_path: Path) -> None:
    status = Status(tmp_path, "tiny", {"a": 30, "b": 60})
    with lock(tmp_path), status.stage("a"):
        status.show(Progress("a", 1, 4, "loss 2", 100.0))
        status.write(force=True)
        now = json.loads((tmp_path / "status.json").read_text())["stages"][0]
        assert (now["state"], now["done"], now["total"], now["text"]) == ("running", 1, 4, "loss 2")
    value = read_status(tmp_path)
    assert value is not None
    assert [s["state"] for s in value["stages"]] == ["done", "waiting"]


@pytest.mark.parametrize(("error", "state"), [(Stopped(), "stopped"), (ValueError("no"), "failed")])
def test_a_build_that_does_not(tmp_path: Path, error: Exception, state: str) -> None:
    status = Status(tmp_path, "tiny", {"a": 1})
    with pytest.raises(type(error)), status.stage("a"):
        raise error
    value = read_status(tmp_path)
    assert value is not None
    assert value["state"] == state


def test_a_build_that_was_just_started_is_running(tmp_path: Path) -> None:
    """Until it speaks: its number is alive, it has no lock yet. Not for ever, and not once it is gone."""
    value = {"state": "running", "pid": os.getpid(), "updated": time.time(), "spoken": False, "stages": []}
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for change, state in (({}, "running"), ({"updated": 0.0}, "stopped"), ({"pid": gone.pid}, "stopped")):
        (tmp_path / "status.json").write_text(json.dumps(value | change))
        found = read_status(tmp_path)
        assert found is not None
        assert found["state"] == state


def test_a_build_runs_while_its_folder_is_locked(tmp_path: Path) -> None:
    """A process number proves nothing: ours is alive, and still nobody works there."""
    Status(tmp_path, "tiny", {"a": 1})
    for state in ("running", "stopped"):
        with lock(tmp_path) if state == "running" else nullcontext():
            read = read_status(tmp_path)
            assert read is not None
            assert read["state"] == state
    assert read_status(tmp_path / "nowhere") is None


def test_metrics_are_cut_and_a_torn_line_is_left_out(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "m.jsonl")
    sizes = []
    for step in range(5):
        sizes.append(log.size())
        log.log(step, loss=1.0 / (step + 1), bad=float("nan"))
    log.cut(sizes[3])
    log.cut(1 << 20)
    with open(tmp_path / "m.jsonl", "a") as f:
        f.write('{"step": 3, "lo')
    rows = read_metrics(tmp_path / "m.jsonl")
    assert [row["step"] for row in rows] == [0, 1, 2]
    assert rows[0]["bad"] is None


def test_the_time_left_of_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages to come at this machine's pace, half the usual one; what was found finished does not count."""
    now = 0.0
    replace_clock(monkeypatch, status_module, lambda: now)
    status = Status(tmp_path, "tiny", {"found": 500, "a": 30, "b": 60})
    with status.stage("found"):
        now += 0.01
    with status.stage("a"):
        told = []
        for done in (1, 4, 6):
            now = 10.0 * done
            told.append(Progress("a", done, 6))
            status.show(told[-1])
    assert told[0].build_seconds_left is None
    assert told[1].build_seconds_left == pytest.approx(20 + 2 * 60, rel=0.01)
    assert told[2].build_seconds_left == pytest.approx(2 * 60, rel=0.01)
    with status.stage("b"):
        now += 60
        status.show(Progress("b", 1, 2))
        assert status.value["seconds_left"] == pytest.approx(2 * 30, rel=0.2)


def test_a_stages_own_time_left_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    replace_clock(monkeypatch, status_module, lambda: now)
    status = Status(tmp_path, "tiny", {"a": 10})
    with status.stage("a"):
        row = status.value["stages"][0]
        now = 4.0
        status.show(Progress("a", 10, 100, "loss 2.5", 1234.56))  # a resumed stage: ten were there before
        assert row["seconds_left"] is None
        now = 14.0
        status.show(Progress("a", 30, 100))
        assert row["seconds_left"] == pytest.approx(70 * 10 / 20)  # 20 took 10 seconds, 70 are left
        assert (row["done"], row["total"], row["seconds"]) == (30, 100, 14.0)
    assert (row["state"], row["seconds_left"]) == ("done", 0)


def test_progress_without_a_stage_changes_nothing(tmp_path: Path) -> None:
    status = Status(tmp_path, "tiny", {"a": 1})
    before = json.dumps(status.value)
    status.show(Progress("a", 1, 2))
    assert json.dumps(status.value) == before


def test_the_file_is_written_at_most_twice_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    replace_clock(monkeypatch, status_module, lambda: clock[0])
    status = Status(tmp_path, "tiny", {"a": 1})
    status.value["recipe"] = "changed"
    status.write()
    assert json.loads((tmp_path / "status.json").read_text())["recipe"] == "tiny"
    clock[0] += 0.5
    status.write()
    value = json.loads((tmp_path / "status.json").read_text())
    assert (value["recipe"], value["updated"]) == ("changed", 1000.5)
    assert not any(key.startswith("_") for stage in value["stages"] for key in stage)


@pytest.mark.parametrize("text", ["", "{", "[1", "\x00"])
def test_a_status_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    assert read_status(tmp_path) is None
    (tmp_path / "status.json").write_text(text)
    assert read_status(tmp_path) is None
