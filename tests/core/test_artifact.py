"""Artifacts: published whole or not at all, hashed, locked."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from kaiwa.core import artifact as artifacts
from kaiwa.core.artifact import (
    Artifact,
    Plan,
    content_hash,
    fingerprint,
    finished,
    open_artifact,
    publish,
    write_atomic,
)
from kaiwa.core.errors import UserError
from kaiwa.core.lock import holder, lock
from tests.module_clock import replace_clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    size: int = 1


def plan(size: int = 1, seed: int = 0) -> Plan:
    return Plan("thing", Config(size=size), {"parent": Artifact(Path("p"), {"hash": "abc"})}, seed)


def make(out: Path, text: str = "hello", size: int = 1) -> Artifact:
    with publish(out, plan(size)) as work:
        (work.path / "a.txt").write_text(text)
        work.checkpoint.mkdir()
        (work.checkpoint / "state").write_text("not published")
        work.metrics["loss"] = 1.5
    return open_artifact(out, "thing")


def test_publishing(tmp_path: Path) -> None:
    artifact = make(tmp_path / "out")
    assert sorted(p.name for p in artifact.path.iterdir()) == ["a.txt", "kaiwa.json"]
    assert artifact.hash == content_hash(artifact.path)
    assert artifact.metrics == {"loss": 1.5}
    assert artifact.manifest["parents"]["parent"]["hash"] == "abc"
    assert not (tmp_path / ".out.work").exists()


def test_the_hash_covers_names_and_bytes(tmp_path: Path) -> None:
    first = make(tmp_path / "a").hash
    assert make(tmp_path / "b").hash == first
    assert make(tmp_path / "c", text="hallo").hash != first
    (tmp_path / "a" / "a.txt").rename(tmp_path / "a" / "b.txt")
    assert content_hash(tmp_path / "a") != first


def test_an_exception_publishes_nothing_and_keeps_the_work(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), publish(tmp_path / "out", plan()) as work:
        (work.path / "half").write_text("x")
        raise RuntimeError
    assert not (tmp_path / "out").exists()
    with publish(tmp_path / "out", plan()) as work:
        assert (work.path / "half").read_text() == "x"


def test_the_work_of_another_plan_is_cleared(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), publish(tmp_path / "out", plan(1)) as work:
        (work.path / "half").write_text("x")
        raise RuntimeError
    with publish(tmp_path / "out", plan(2)) as work:
        assert not (work.path / "half").exists()


def test_finished_says_what_changed(tmp_path: Path) -> None:
    make(tmp_path / "out")
    said: list[str] = []
    assert finished(tmp_path / "out", plan(), said.append) is not None
    assert finished(tmp_path / "nowhere", plan(), said.append) is None
    assert said == []
    assert finished(tmp_path / "out", plan(size=2), said.append) is None
    assert said == ["out is built again: config.size: 1 -> 2"]


def test_nothing_is_published_over_another_kind_or_over_what_it_is_made_from(tmp_path: Path) -> None:
    there = make(tmp_path / "out")
    with pytest.raises(UserError, match="holds a 'thing' artifact; give another --out"):
        finished(tmp_path / "out", Plan("other", Config(), {}, 0), print)
    with pytest.raises(UserError, match="is this run's own parent, which it would replace"):
        finished(tmp_path / "out", Plan("thing", Config(), {"parent": there}, 0), print)
    assert open_artifact(tmp_path / "out").hash == there.hash


def test_a_field_that_came_later_counts_at_its_default(tmp_path: Path) -> None:
    made = make(tmp_path / "out")
    (made.path / "kaiwa.json").write_text(json.dumps({**made.manifest, "config": {}}))
    said: list[str] = []
    assert finished(tmp_path / "out", plan(), said.append) is not None
    assert finished(tmp_path / "out", plan(size=2), said.append) is None
    assert said == ["out is built again: config.size: 1 -> 2"]


class StopHere(BaseException):
    """Stands for a kill."""


@pytest.mark.parametrize("at", ["unlink", "rmtree", "rename"])
def test_killed_while_publishing_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """Once the manifest is written the work is done: the next look publishes it and the stage does not run again."""

    def die(*_: object, **__: object) -> None:
        raise StopHere

    with monkeypatch.context() as patch, pytest.raises(StopHere), publish(tmp_path / "out", plan()) as work:
        (work.path / "a.txt").write_text("hello")
        work.checkpoint.mkdir()
        (work.checkpoint / "state").write_text("x")
        real = artifacts._rename

        def rename(work: Path, out: Path) -> None:
            patch.setattr(shutil if at == "rmtree" else Path, at, die)
            real(work, out)

        patch.setattr(artifacts, "_rename", rename)
    assert not (tmp_path / "out").exists()
    found = finished(tmp_path / "out", plan(), print)
    assert found is not None
    assert found.hash == content_hash(found.path) == make(tmp_path / "other").hash
    assert sorted(p.name for p in found.path.iterdir()) == ["a.txt", "kaiwa.json"]
    assert finished(tmp_path / "out", plan(size=2), print) is None


def test_half_written_files_of_a_killed_try_are_not_published(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), publish(tmp_path / "out", plan()) as work:
        (work.path / ".samples.jsonl.tmp").write_text("half")
        raise RuntimeError
    assert make(tmp_path / "out").hash == make(tmp_path / "other").hash


@pytest.mark.parametrize("free", [0, 1 << 30])
def test_a_full_disk_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """By its number; or, where a library hides that (torch, safetensors), by what the disk has left."""
    usage = shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="disk is full"), publish(tmp_path / "out", plan()):
        raise OSError(28, "No space left on device")
    with pytest.raises(UserError if free == 0 else RuntimeError), publish(tmp_path / "out", plan()):
        raise RuntimeError("unexpected pos 704 vs 598")


def test_what_is_no_number_is_null(tmp_path: Path) -> None:
    with publish(tmp_path / "out", plan()) as work:
        work.metrics |= {"loss": float("nan"), "by_source": {"docs": float("inf"), "code": 1.5}}
    text = (tmp_path / "out" / "kaiwa.json").read_text()
    assert json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))["metrics"] == {
        "by_source": {"code": 1.5, "docs": None},
        "loss": None,
    }


def test_opening_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no artifact here"):
        open_artifact(tmp_path)
    make(tmp_path / "out")
    with pytest.raises(UserError, match="a 'corpus' is needed"):
        open_artifact(tmp_path / "out", "corpus")
    (tmp_path / "out" / "kaiwa.json").write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        open_artifact(tmp_path / "out")


HOLDER = "import sys, time; from pathlib import Path; from kaiwa.core.lock import lock\n" + (
    "with lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
)


def test_the_lock_goes_with_its_process_even_when_killed(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "held"
    with pytest.raises(UserError, match=f"process {process.pid} is working here"), lock(tmp_path):
        pass
    assert holder(tmp_path) == process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for _ in range(50):
        try:
            with lock(tmp_path):
                break
        except UserError:
            time.sleep(0.05)
    else:
        pytest.fail("the lock outlived its process")
    assert holder(tmp_path) is None
    assert holder(tmp_path / "nowhere") is None


def test_manifests_are_plain_json(tmp_path: Path) -> None:
    manifest = json.loads((make(tmp_path / "out").path / "kaiwa.json").read_text())
    assert manifest["kind"] == "thing"
    assert manifest["config"] == {"size": 1}


def test_the_hash_is_over_sorted_names_and_digests_whatever_the_order_of_writing(tmp_path: Path) -> None:
    files = {"b.txt": b"two", "a/x.bin": b"\x00" * 3_000_000, "c": b""}
    total = hashlib.sha256()
    for name in sorted(files):
        total.update(f"{name}\0{hashlib.sha256(files[name]).hexdigest()}\n".encode())
    for folder, order in (("one", list(files)), ("two", list(reversed(files)))):
        for name in order:
            file = tmp_path / folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(files[name])
        assert content_hash(tmp_path / folder) == total.hexdigest()
    (tmp_path / "one" / "kaiwa.json").write_text("{}")  # what says how long it took is not hashed
    (tmp_path / "one" / "checkpoint").mkdir()
    (tmp_path / "one" / "checkpoint" / "state").write_text("x")
    assert content_hash(tmp_path / "one") == total.hexdigest()
    (tmp_path / "one" / "a" / "kaiwa.json").write_text("{}")  # but a file of that name below is
    assert content_hash(tmp_path / "one") != total.hexdigest()


def test_a_file_is_a_parent_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello")
    assert fingerprint(tmp_path / "a").hash == hashlib.sha256(b"hello").hexdigest()
    for wrong in (tmp_path / "b", tmp_path):
        with pytest.raises(UserError, match="no such file"):
            fingerprint(wrong)


def test_a_second_publication_replaces_the_whole_folder(tmp_path: Path) -> None:
    make(tmp_path / "out")
    with publish(tmp_path / "out", plan(2)) as work:
        (work.path / "b.txt").write_text("new")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["b.txt", "kaiwa.json"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_the_time_of_two_tries_adds_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    replace_clock(monkeypatch, artifacts, lambda: clock[0])
    with pytest.raises(RuntimeError), publish(tmp_path / "out", plan()):
        clock[0] += 20
        raise RuntimeError
    with publish(tmp_path / "out", plan()):
        clock[0] += 5
    assert open_artifact(tmp_path / "out").manifest["seconds"] == 25.0


def test_a_parent_with_other_bytes_is_another_plan(tmp_path: Path) -> None:
    make(tmp_path / "out")
    lines: list[str] = []
    other = Plan("thing", Config(), {"parent": Artifact(Path("p"), {"hash": "abd"})}, 0)
    assert finished(tmp_path / "out", other, lines.append) is None
    assert lines == ["out is built again: parents.parent: 'abc' -> 'abd'"]
    assert finished(tmp_path / "out", plan(seed=1), lines.append) is None
    assert lines[1] == "out is built again: seed: 0 -> 1"
    done = finished(tmp_path / "out", plan(), lines.append)
    assert done is not None
    assert done.path == tmp_path / "out"
    assert len(lines) == 2


def test_the_places_of_parents_are_relative_and_do_not_identify(tmp_path: Path) -> None:
    parent = Artifact(tmp_path / "runs" / "base", {"hash": "abc"})
    with publish(tmp_path / "runs" / "sft", Plan("sft", Config(), {"policy": parent}, 0)):
        pass
    assert open_artifact(tmp_path / "runs" / "sft").manifest["parents"] == {"policy": {"hash": "abc", "path": "base"}}
    moved = Plan("sft", Config(), {"policy": Artifact(Path("/elsewhere"), {"hash": "abc"})}, 0)
    assert finished(tmp_path / "runs" / "sft", moved, pytest.fail) is not None


def test_a_small_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "status.json"
    write_atomic(file, "old")

    def killed(fd: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(artifacts.os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            write_atomic(file, "new")
    assert file.read_text() == "old"
    write_atomic(file, "newer")
    assert [p.name for p in tmp_path.iterdir()] == ["status.json"]
