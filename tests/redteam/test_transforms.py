"""Transforms: known texts in their other forms, and messages that are sent in pieces."""

import base64

import pytest

from kaiwa.core.errors import UserError
from kaiwa.redteam.attacks.transforms import TRANSFORMS, check_transform, split_message, transform


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("leet", "Sea iota", "534 1074"),
        ("full-width", "Ab 1!", "Ａｂ　１！"),
        ("zero-width", "abc", "a\u200bb\u200bc"),
        ("hiragana", "カギ", "かぎ"),
        ("romaji", "さくら", "sakura"),
        ("kana", "sakura", "さくら"),
        ("language", "abc", "abc"),
        ("split", "abc", "abc"),
    ],
)
def test_known_forms(name: str, text: str, expected: str) -> None:
    assert transform(name, text, "en") == expected


def test_homoglyphs_look_alike_and_are_other_letters() -> None:
    text = transform("homoglyphs", "cat pie", "en")
    assert len(text) == 7
    assert text[0] == "\u0441"  # Cyrillic es
    assert text[1] == "\u0430"  # Cyrillic a
    assert text[2] == "t", "a letter without a twin stays"
    assert text.encode("ascii", "ignore") == b"t "


def test_base64_and_rot13_say_how_to_undo_them() -> None:
    head, encoded = transform("base64", "Grüße", "en").splitlines()
    assert "base64" in head
    assert base64.b64decode(encoded).decode() == "Grüße"
    head, moved = transform("rot13", "Hello", "en").splitlines()
    assert "13" in head
    assert moved == "Uryyb"
    assert transform("rot13", "さくら", "ja").splitlines()[1] == "fnxhen", "kana are romaji first: sakura"


def test_kana_in_japanese_is_katakana() -> None:
    assert transform("kana", "かぎ", "ja") == "カギ"


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_message_is_announced_sent_in_four_and_closed(language: str) -> None:
    first, *parts, last = split_message("abcdefgh", language)
    assert "4" in first
    assert len(parts) == 4
    assert [part.rstrip("」")[-2:] for part in parts] == ["ab", "cd", "ef", "gh"]
    assert last != first


def test_a_short_message_has_as_many_pieces_as_letters() -> None:
    turns = split_message("ab", "en")
    assert len(turns) == 4
    assert turns[1] == "Part 1 of 2: a"
    assert turns[2] == "Part 2 of 2: b"


def test_names_are_checked() -> None:
    for name in TRANSFORMS:
        assert check_transform(name) == name
    with pytest.raises(UserError, match="did you mean 'base64'"):
        check_transform("bas64")
