"""What a person chose, opened; and the formats that `open_weights` tells apart."""

from pathlib import Path

import pytest

from kaiwa.catalog.entries import weights_format
from kaiwa.catalog.open_model import ModelChoice, open_model
from kaiwa.catalog.weights import open_weights
from kaiwa.core.errors import UserError
from kaiwa.text.client import HTTPChatModel


def test_a_server_needs_a_name_and_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://127.0.0.1:9/v1"
    with pytest.raises(UserError, match="needs the model's name"):
        open_model(ModelChoice(url=url))
    with pytest.raises(UserError, match="NO_SUCH_KEY is empty"):
        open_model(ModelChoice(url=url, model="m", api_key_env="NO_SUCH_KEY"))
    monkeypatch.setenv("SOME_KEY", "secret")
    opened = open_model(ModelChoice(url=url, model="m", api_key_env="SOME_KEY"))
    assert isinstance(opened.model, HTTPChatModel)
    assert (opened.identity, opened.form) == (f"{url} m", "chat")


def test_formats_are_told_apart_by_name(tmp_path: Path) -> None:
    assert [weights_format(Path(p)) for p in ("a.gguf", "b.bin", "runs/x/sft")] == ["gguf", "llama2.c", "folder"]
    (tmp_path / "a.gguf").write_bytes(b"no")
    (tmp_path / "b.bin").write_bytes(b"no")
    for name in ("a.gguf", "b.bin"):
        with pytest.raises(UserError, match=name):
            open_weights(tmp_path / name)
    with pytest.raises(UserError, match=r"no config\.json"):
        open_weights(tmp_path).read_dense()
