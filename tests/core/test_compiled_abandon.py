"""A process that ends while it compiles leaves no compiler and no temporary files behind."""

import os
import threading
import time
from pathlib import Path

import pytest

from kaiwa.core import compiled
from kaiwa.core.compiled import CppSource, abandon, load
from kaiwa.core.errors import UserError

SLOW = """#!/bin/sh
touch "$TMPDIR/started"
sleep 60 &
echo $! > "$PIDS"
wait
"""


def test_abandon_ends_the_compiler_and_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.cpp").write_text("int main() {}")
    slow = tmp_path / "slow-compiler"
    slow.write_text(SLOW)
    slow.chmod(0o755)
    monkeypatch.setenv("CXX", str(slow))
    monkeypatch.setenv("PIDS", str(tmp_path / "pids"))
    file = tmp_path / "cache" / "a.so"
    errors: list[UserError] = []

    def work() -> None:
        try:
            load(CppSource(tmp_path / "src", "a.cpp", "a", "the test"), file)
        except UserError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    deadline = time.monotonic() + 20
    while not (tmp_path / "pids").is_file() or not (tmp_path / "pids").read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (folder,) = (tmp_path / "cache").iterdir()
    assert (folder / "started").is_file(), "the compiler's own temporary files lie in our folder"
    abandon()
    assert list((tmp_path / "cache").iterdir()) == []
    thread.join(5)
    assert "cannot compile the test" in str(errors[0])
    assert not compiled._compilers
    child = int((tmp_path / "pids").read_text())
    deadline = time.monotonic() + 5
    while _runs(child):
        assert time.monotonic() < deadline, "the compiler's child goes on"
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_without_a_compiler_running_it_returns_at_once() -> None:
    start = time.monotonic()
    abandon()
    assert time.monotonic() - start < 0.5
