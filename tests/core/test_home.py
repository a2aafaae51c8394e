"""Where models and chats live, by the environment and the platform; the card in a model's folder."""

import json
import sys
from pathlib import Path

import pytest

from kaiwa.core.chat_card import write_chat_card
from kaiwa.core.home import home, runs


@pytest.fixture(autouse=True)
def _linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAIWA_HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setattr(sys, "platform", "linux")


def test_the_folder_by_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    assert home() == Path("/home/somebody/.local/share/kaiwa")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert home() == Path("/home/somebody/Library/Application Support/kaiwa")


def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert home() == Path("/data/kaiwa")
    monkeypatch.setenv("KAIWA_HOME", "~/models")
    assert home() == Path("/home/somebody/models")
    monkeypatch.setenv("KAIWA_HOME", "")  # empty is not set
    assert home() == Path("/data/kaiwa")


def test_builds_are_published_where_one_stands() -> None:
    assert not runs().is_absolute()


def test_a_card_is_readable_json_or_no_file(tmp_path: Path) -> None:
    write_chat_card(tmp_path, None)
    assert list(tmp_path.iterdir()) == []
    card = {"languages": ["ja"], "about": {"ja": "村"}}
    write_chat_card(tmp_path, card)
    text = (tmp_path / "chat.json").read_text(encoding="utf-8")
    assert json.loads(text) == card
    assert "村" in text
    assert text.index('"about"') < text.index('"languages"')  # in order: the same card is the same bytes
