"""The status of a build and the metrics log."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from kaiwa.core.context import Progress
from kaiwa.core.errors import Stopped
from kaiwa.core.lock import lock
from kaiwa.core.metrics import MetricsLog, read_metrics
from kaiwa.core.status import Status, read_status


def test_a_build_that_goes_well(tmp_path: Path) -> None:
    status = Status(tmp_path, "tiny", ["a", "b"])
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
    status = Status(tmp_path, "tiny", ["a"])
    with pytest.raises(type(error)), status.stage("a"):
        raise error
    value = read_status(tmp_path)
    assert value is not None
    assert value["state"] == state


def test_a_build_runs_while_its_folder_is_locked(tmp_path: Path) -> None:
    """A process number proves nothing: ours is alive, and still nobody works there."""
    Status(tmp_path, "tiny", ["a"])
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
