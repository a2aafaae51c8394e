"""A compile that is killed: nothing half-made is loaded, and the next one cleans up after it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kaiwa.core.compiled import BUILDING, CppSource, compiler, load
from kaiwa.core.errors import UserError

SOURCE = """extern "C" int answer() { return 42; }"""
SLOW = """#!/bin/sh
while [ "$1" != -o ]; do shift; done
printf half > "$2"
echo $$ > "$0.pid"
exec sleep 60
"""
PROCESS = """
import sys
from pathlib import Path
from kaiwa.core.compiled import CppSource, load
load(CppSource(Path(sys.argv[1]), "a.cpp", "a", "a test"), Path(sys.argv[2]))
"""


@pytest.fixture
def source(tmp_path: Path) -> CppSource:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.cpp").write_text(SOURCE)
    return CppSource(tmp_path / "src", "a.cpp", "a", "a test")


@pytest.mark.skipif(compiler() is None, reason="there is no C++ compiler")
def test_a_killed_compile_leaves_nothing_for_long(source: CppSource, tmp_path: Path) -> None:
    stand_in, cache = tmp_path / "slow", tmp_path / "cache"
    stand_in.write_text(SLOW)
    stand_in.chmod(0o755)
    arguments = [sys.executable, "-c", PROCESS, str(source.folder), str(cache / "a.so")]
    process = subprocess.Popen(arguments, env=os.environ | {"CXX": str(stand_in)}, start_new_session=True)
    deadline = time.monotonic() + 20
    while not ((pid := tmp_path / "slow.pid").exists() and pid.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    (folder,) = cache.glob(f"{BUILDING}*")
    assert folder.name.startswith(f"{BUILDING}{process.pid}-")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    os.kill(int(pid.read_text()), signal.SIGKILL)
    assert folder.is_dir()  # a kill lets nobody clean up
    assert not (cache / "a.so").exists()
    beside = cache / f"{BUILDING}{os.getpid()}-beside"  # somebody's who is alive
    beside.mkdir()
    assert load(source, cache / "a.so").answer() == 42
    assert sorted(path.name for path in cache.iterdir()) == ["a.so", beside.name]


def test_a_compiler_that_fails_leaves_nothing(
    source: CppSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(UserError, match="cannot compile a test"):
        load(source, tmp_path / "cache" / "a.so")
    assert list((tmp_path / "cache").iterdir()) == []
