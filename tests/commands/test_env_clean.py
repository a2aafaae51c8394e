"""`kaiwa env` and `kaiwa clean`: facts without secrets; only what cannot be used again is deleted."""

import json
import os
import struct
from pathlib import Path

import pytest

from kaiwa import __version__
from kaiwa.cli import main
from kaiwa.commands.env import without_home


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    main(list(words))
    return capsys.readouterr().out


def test_env_names_versions_and_hides_keys(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KAIWA_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("KAIWA_API_KEY", "sk-very-secret")
    (tmp_path / "state" / "cache").mkdir(parents=True)
    (tmp_path / "state" / "cache" / "x.so").write_bytes(bytes(3_000_000))
    text = printed(capsys, "env")
    assert "sk-very-secret" not in text
    assert str(tmp_path) not in text.partition("runs")[0], "the user's name is often in the home folder"
    facts = json.loads(printed(capsys, "env", "--json"))
    assert facts["versions"]["kaiwa"] == __version__
    assert facts["settings"]["KAIWA_API_KEY"] == "(hidden)"
    assert facts["folders"]["caches"] == "~/state/cache  3 MB"
    assert facts["machine"]["device"] in ("cpu", "mps") or facts["machine"]["device"].startswith("cuda")
    assert {"processor", "threads", "instructions"} <= set(facts["machine"])


def test_only_the_home_folder_itself_is_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/al")
    paths = {"/home/al": "~", "/home/al/x": "~/x", "/home/alice/x": "/home/alice/x", "/a:/home/al/b": "/a:~/b"}
    assert {path: without_home(path) for path in paths} == paths


def packed(file: Path, owner: Path, age: float) -> Path:
    """Write the header of a packed copy of the model folder `owner`, `age` seconds old."""
    header = json.dumps({"__metadata__": {"folder": str(owner)}}).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(1000))
    os.utime(file, (1e9 - age, 1e9 - age))
    return file


def test_clean_deletes_only_what_is_old(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KAIWA_HOME", str(tmp_path))
    cache, model = tmp_path / "cache", tmp_path / "models" / "a"
    model.mkdir(parents=True)
    (model / "model.safetensors").write_bytes(bytes(10))
    (cache / "torch" / "fx").mkdir(parents=True)
    (cache / "torch" / "fx" / "graph").write_bytes(bytes(10))
    new, old = (
        packed(cache / "packed" / "1.safetensors", model, 0),
        packed(cache / "packed" / "2.safetensors", model, 9),
    )
    lost = packed(cache / "packed" / "3.safetensors", tmp_path / "models" / "deleted", 0)
    damaged = cache / "packed" / "4.safetensors"
    damaged.write_bytes(b"\x00")
    library, older = cache / "step-b.so", cache / "step-a.so"
    library.write_bytes(bytes(5))
    older.write_bytes(bytes(5))
    os.utime(older, (1, 1))
    part = cache / "packed" / "5.part999999999-1"
    part.write_bytes(bytes(5))
    ours = cache / "packed" / f"6.part{os.getpid()}-1"
    ours.write_bytes(bytes(5))
    building = cache / "building-999999999-x"
    building.mkdir()
    gone = [old, lost, damaged, older, part, building]

    text = printed(capsys, "clean", "--dry-run")
    assert all(path.exists() for path in gone)
    assert "nothing deleted" in text
    printed(capsys, "clean")
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in (new, library, ours, cache / "torch", model / "model.safetensors"))
    printed(capsys, "clean", "--all")
    assert not any(path.exists() for path in (new, library, cache / "torch"))
    assert (model / "model.safetensors").exists()


def test_clean_without_caches(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KAIWA_HOME", str(tmp_path / "none"))
    assert printed(capsys, "clean").endswith("0.0 MB freed\n")
