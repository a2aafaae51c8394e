"""The lock of a build folder inside one process: one at a time, given back whatever happens, named in the message."""

import os
from pathlib import Path

import pytest

from kaiwa.core import lock as lock_module
from kaiwa.core.errors import UserError
from kaiwa.core.lock import FILE, holder, lock


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "PATIENCE", 0.02)


def test_a_folder_is_made_and_its_holder_named(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "tiny"
    assert holder(folder) is None
    with lock(folder):
        assert holder(folder) == os.getpid()
        assert (folder / FILE).read_text() == str(os.getpid())
    assert holder(folder) is None  # the file stays, the lock does not
    assert (folder / FILE).is_file()


def test_the_second_one_is_told_who_works_there(tmp_path: Path) -> None:
    with (
        lock(tmp_path),
        pytest.raises(UserError, match=f"process {os.getpid()} is working here; wait for it, stop it, or use --out"),
        lock(tmp_path),
    ):
        pytest.fail("two hold one folder")
    with lock(tmp_path):  # the refusal took nothing
        assert holder(tmp_path) == os.getpid()


def test_an_error_inside_gives_the_folder_back(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lock(tmp_path):
        raise ZeroDivisionError
    assert holder(tmp_path) is None


def test_two_folders_are_two_locks(tmp_path: Path) -> None:
    with lock(tmp_path / "a"), lock(tmp_path / "b"):
        assert holder(tmp_path / "a") == holder(tmp_path / "b") == os.getpid()


def test_an_older_longer_number_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("99999999999999")
    with lock(tmp_path):
        assert holder(tmp_path) == os.getpid()


def test_looking_does_not_take_the_lock(tmp_path: Path) -> None:
    with lock(tmp_path):
        pass
    assert [holder(tmp_path) for _ in range(3)] == [None] * 3
    with lock(tmp_path):
        assert [holder(tmp_path) for _ in range(3)] == [os.getpid()] * 3
