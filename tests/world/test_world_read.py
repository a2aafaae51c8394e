"""The reader: what a sentence claims, of whom, and what it does not claim; every template of the village; numbers."""

import pytest

from kaiwa.world.language import ATTRIBUTES, LANGUAGES
from kaiwa.world.read import Claim, lexicon, normalise, read, with_digits


def claims(text: str, language: str = "en", asked_name: str = "") -> list[Claim]:
    return read(normalise(text), language, asked_name).claims


BAKER, SMITH, GOAT = ("trade", "baker"), ("trade", "smith"), ("animal", "goat")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Norivan is a baker.", [Claim("Norivan", *BAKER)]),
        ("a baker", [Claim("", *BAKER)]),
        ("Norivan is not a baker.", [Claim("Norivan", *BAKER, negated=True)]),
        ("Norivan isn’t a baker, but a smith.", [Claim("Norivan", *BAKER, negated=True), Claim("Norivan", *SMITH)]),
        ("It is not true that he is no baker.", [Claim("", *BAKER)]),  # twice turned round
        ("Norivan is a baker and Balta is a smith.", [Claim("Norivan", *BAKER), Claim("Balta", *SMITH)]),
        ("Norivan is a baker and keeps a goat.", [Claim("Norivan", *BAKER), Claim("Norivan", *GOAT)]),
        ("Norivan sings. Works as a baker.", [Claim("Norivan", *BAKER)]),  # whom the sentence before was about
        ("A goat belongs to Norivan.", [Claim("Norivan", *GOAT)]),  # the name after it
        ("Is Norivan a baker?", []),
        ("I wonder whether Norivan is a baker.", []),
        ("If Norivan is a baker, he bakes.", []),
        ("Norivan is a blacksmith.", [Claim("Norivan", *SMITH)]),  # another word for it
        ("Norivan has two goats.", [Claim("Norivan", *GOAT)]),
        ("Norivan is a goatherd.", []),  # a value within a word is none
        ("Norivan and Balta are friends.", [Claim("Norivan", "friend", "Balta")]),
        ("Norivan and Balta are not friends.", [Claim("Norivan", "friend", "Balta", negated=True)]),
        ("Ｎｏｒｉｖａｎ ｉｓ ａ ｂａｋｅｒ．", [Claim("Norivan", *BAKER)]),  # full-width letters
        ("NORIVAN IS A BAKER", [Claim("", *BAKER)]),
    ],
)
def test_english_claims(text: str, expected: list[Claim]) -> None:
    assert claims(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ノリヴァンはパン屋です。", [Claim("ノリヴァン", *BAKER)]),
        ("パン屋です。", [Claim("", *BAKER)]),
        ("ノリヴァンはパン屋ではありません。", [Claim("ノリヴァン", *BAKER, negated=True)]),
        (
            "ノリヴァンはパン屋ではなく、鍛冶屋です。",
            [Claim("ノリヴァン", *BAKER, negated=True), Claim("ノリヴァン", *SMITH)],
        ),
        ("ノリヴァンはパン屋ですか？", []),
        ("ノリヴァンがパン屋かどうかは秘密です。", []),
    ],
)
def test_japanese_claims(text: str, expected: list[Claim]) -> None:
    assert claims(text, "ja") == expected


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_every_sentence_of_the_village_is_read_as_it_was_written(language: str, attribute: str) -> None:
    words, name = LANGUAGES[language], {"en": "Norivan", "ja": "ノリヴァン"}[language]
    for value, word in words.values[attribute].items():
        for template in words.facts[attribute]:
            text = template.format(name=name, value=word)
            assert claims(text, language, name) == [Claim(name, attribute, value)], text
        short = words.short[attribute].format(value=word, Value=word[:1].upper() + word[1:])
        assert claims(short, language) == [Claim("", attribute, value)], short


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_villages_other_sentences_are_what_they_are(language: str) -> None:
    words = LANGUAGES[language]
    for text in words.unknown:
        reading = read(normalise(text), language)
        assert (reading.unknown, reading.refused, reading.claims) == (True, False, []), text
    for text in words.refusals:
        reading = read(normalise(text), language)
        assert (reading.refused, reading.unknown, reading.rude, reading.claims) == (True, False, False, []), text
    for text in words.padding:
        reading = read(normalise(text), language)
        assert (reading.n_padding, reading.n_unread, reading.unknown, reading.refused) == (1, 0, False, False), text
    yes, no = read(words.yes + "x", language), read(words.no + "x", language)
    assert (yes.yes, yes.no, no.yes, no.no) == (True, False, False, True)


@pytest.mark.parametrize(
    ("text", "language", "garbled"),
    [
        ("A baker.", "en", False),
        ("A baker baker.", "en", True),
        ("A baker. A smith. A baker.", "en", True),
        ("the the goat", "en", True),
        ("10 10 coins", "en", False),  # a number may stand twice
        ("パン屋です。", "ja", False),
        ("パン屋ですです。", "ja", True),
        ("パンパンパンです", "ja", True),
    ],
)
def test_repetition_is_garbled(text: str, language: str, garbled: bool) -> None:
    assert read(text, language).garbled is garbled


def test_sentences_are_counted_by_what_they_say() -> None:
    reading = read("round is blue. I hope this helps. Norivan. A baker. 12", "en")
    assert reading.n_unread == 2  # the first and the number; a name alone is understood
    assert reading.n_padding == 1
    assert reading.names == ["Norivan"]
    assert read("", "en").n_unread == read(" ... !", "en").n_unread == 0


def test_the_asked_name_is_a_name_however_it_is_written() -> None:
    assert claims("norivan is a baker", asked_name="Norivan") == [Claim("Norivan", *BAKER)]
    assert claims("norivan is a baker") == [Claim("", *BAKER)]
    assert read("You idiot, Norivan!", "en").rude


def kanji(n: int) -> str:
    digits = " 一二三四五六七八九"
    tens, ones = divmod(n, 10)
    return ((digits[tens] if tens > 1 else "") + "十" if tens else "") + (digits[ones] if ones else "")


def test_numbers_in_words_become_digits() -> None:
    for n in range(1, 40):
        assert with_digits(f"コイン{kanji(n)}枚です。", "ja") == f"コイン{n}枚です。"
    assert with_digits("一人の村人", "ja") == "一人の村人"  # a count of something else
    words = ["zero", "one", "two", "three", "ten", "eleven", "twelve", "thirteen", "nineteen", "twenty"]
    numbers = [0, 1, 2, 3, 10, 11, 12, 13, 19, 20]
    assert with_digits(" ".join(words), "en") == " ".join(map(str, numbers))
    assert with_digits("Thirteen someone", "en") == "13 someone"


def test_no_value_is_a_name_and_names_are_no_words() -> None:
    for language in ("en", "ja"):
        words = lexicon(language)
        for attribute in ATTRIBUTES:
            for value, word in LANGUAGES[language].values[attribute].items():
                assert words.meaning[word.lower()] == (attribute, value)
    assert "norivan" not in lexicon("en").no_names


def test_normalising_is_done_once() -> None:
    text = "  “A”　ｂａｋｅｒ’s – −3½  "
    assert normalise(normalise(text)) == normalise(text)
    assert "'" in normalise(text)
    assert normalise(text).count("-") == 2
