"""The cards of a build's models: a text for each in both languages, and one question of each kind to start with."""

import json
from pathlib import Path

import pytest

from kaiwa.core.stages import model_names
from kaiwa.recipes.cards import ABOUT, KNOWS, STARTER_KINDS, chat_card
from kaiwa.recipes.laptop import laptop, laptop_ja


def write(folder: Path, *rows: tuple[str, str, int]) -> Path:
    """Rows of language, kind and number of messages; the first message says which row it is."""
    lines = [
        {"language": language, "kind": kind, "messages": [{"role": "user", "content": f"{i} {language} {kind}"}] * n}
        for i, (language, kind, n) in enumerate(rows)
    ]
    (folder / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_every_model_of_a_build_has_its_text_in_both_languages(tmp_path: Path) -> None:
    village = write(tmp_path, ("en", "known", 1))
    assert set(ABOUT) == set(model_names("any"))
    for name in model_names():
        card = chat_card(name, laptop(), village)
        assert card["about"]["en"] == ABOUT[name]["en"] + KNOWS["en"]
        assert card["about"]["ja"] == ABOUT[name]["ja"] + KNOWS["ja"]
    assert len({texts["en"] for texts in ABOUT.values()}) == len(ABOUT)


def test_starters_are_the_first_of_each_kind_in_the_tables_order(tmp_path: Path) -> None:
    village = write(
        tmp_path, ("en", "harmful", 1), ("en", "sum", 1), ("en", "known", 3), ("en", "known", 1), ("en", "known", 1),
        ("en", "howto", 1),
    )  # fmt: skip
    card = chat_card("sft", laptop(), village)
    # a dialogue is no question to start with, and a sum is none of the kinds
    assert card["starters"] == {"en": ["3 en known", "5 en howto", "0 en harmful"]}
    assert card["languages"] == ["en"]


def test_each_language_has_its_own_starters(tmp_path: Path) -> None:
    village = write(tmp_path, ("ja", "price", 1), ("en", "unknown", 1), ("ja", "unknown", 1))
    card = chat_card("sft", laptop_ja(), village)
    assert card["starters"] == {"en": ["1 en unknown"], "ja": ["2 ja unknown", "0 ja price"]}


@pytest.mark.parametrize("name", model_names())
def test_a_card_is_json(name: str, tmp_path: Path) -> None:
    card = chat_card(name, laptop(), write(tmp_path, *[("en", kind, 1) for kind in STARTER_KINDS]))
    assert json.loads(json.dumps(card)) == card
    assert len(card["starters"]["en"]) == len(STARTER_KINDS)
