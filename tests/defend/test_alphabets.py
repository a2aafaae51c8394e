"""Alphabets: kana, romaji, Morse and the other ways to say letters."""

import pytest

from kaiwa.defend.alphabets import (
    CODE_WORDS,
    DIGIT_WORDS,
    KANA_OF,
    LETTER_NAMES,
    MORSE,
    to_hiragana,
    to_kana,
    to_katakana,
    to_romaji,
)


@pytest.mark.parametrize(
    ("kana", "latin"),
    [
        ("さくら", "sakura"),
        ("しゃしん", "shashin"),
        ("きょう", "kyou"),
        ("ちゅうい", "chuui"),
        ("じゅく", "juku"),
        ("がっこう", "gakkou"),
        ("ざっし", "zasshi"),
        ("まっちゃ", "matcha"),
        ("コーヒー", "kohi"),
        ("ふじ", "fuji"),
        ("ティー", "ti"),
        ("を", "o"),
        ("abc 7", "abc 7"),
    ],
)
def test_hepburn(kana: str, latin: str) -> None:
    assert to_romaji(kana) == latin


def test_syllables_become_kana_and_the_rest_stays() -> None:
    assert to_kana("Sakura!") == "さくら!"
    assert to_kana("shi tsu xq") == "し つ xq"
    assert all(to_romaji(kana) == sound for sound, kana in KANA_OF.items())


def test_hiragana_and_katakana_are_inverse() -> None:
    hiragana = "ぁあぃいかがっつんゔ"
    assert to_hiragana(to_katakana(hiragana)) == hiragana
    assert to_katakana("カー1a") == "カー1a"


def test_every_letter_has_a_code_word_a_name_and_a_morse_sign() -> None:
    letters = set("abcdefghijklmnopqrstuvwxyz")
    assert set(CODE_WORDS.values()) == letters
    assert all(word[0] == letter for word, letter in CODE_WORDS.items() if word != "xray")
    assert set(LETTER_NAMES.values()) == letters
    assert set(MORSE.values()) == letters | set("0123456789")
    assert MORSE["..."] + MORSE["---"] + MORSE["..."] == "sos"
    assert (MORSE["....-"], MORSE["-----"]) == ("4", "0")


def test_digits_in_words_of_both_languages() -> None:
    assert [DIGIT_WORDS[word] for word in ("zero", "seven", "ゼロ", "なな", "しち", "oh")] == list("070770")
    assert set(DIGIT_WORDS.values()) == set("0123456789")
