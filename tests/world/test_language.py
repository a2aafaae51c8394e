"""The phrasebooks: both languages say the same, with the blanks that each template needs."""

import dataclasses
import string
from collections.abc import Iterator
from typing import Any

import pytest

from kaiwa.world.language import (
    ATTRIBUTES,
    ENGLISH,
    GOOD_IDS,
    HARM_IDS,
    HOWTO_IDS,
    JAPANESE,
    LANGUAGES,
    RECIPE_IDS,
    VALUE_IDS,
    Phrasebook,
    cut_first,
)

BOOKS = pytest.mark.parametrize("book", LANGUAGES.values(), ids=LANGUAGES)
# What each table's templates are filled in with; a template may leave out what the sentence does not need.
BLANKS: dict[str, set[str]] = {
    "facts": {"name", "value"}, "follow": {"value"}, "clauses": {"value"}, "short": {"value", "Value"},
    "questions": {"name"}, "test_questions": {"name"}, "again": set(), "test_again": set(), "unknown": set(),
    "unknown_named": {"name"}, "refusals": set(), "padding": set(), "price": {"good", "n"}, "sum": {"sum", "n"},
}  # fmt: skip


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    else:
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts(item)


def blanks(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def keys(value: Any) -> Any:
    return {key: keys(item) for key, item in value.items()} if isinstance(value, dict) else None


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Phrasebook)])
def test_both_languages_have_the_same_entries(field: str) -> None:
    if field != "pools":
        assert keys(getattr(ENGLISH, field)) == keys(getattr(JAPANESE, field))


@BOOKS
def test_every_text_is_a_text_of_some_length(book: Phrasebook) -> None:
    for field in dataclasses.fields(book):
        if field.name not in ("joint", "pools"):  # pools hold line breaks too
            assert all(text.strip() for text in texts(getattr(book, field.name))), field.name


@BOOKS
@pytest.mark.parametrize("table", BLANKS)
def test_templates_have_no_blank_that_nobody_fills_in(book: Phrasebook, table: str) -> None:
    for text in texts(getattr(book, table)):
        assert blanks(text) <= BLANKS[table], text


@BOOKS
def test_a_fact_names_the_villager_and_the_value(book: Phrasebook) -> None:
    for attribute in (*ATTRIBUTES, "friend"):
        assert len(set(book.facts[attribute])) == len(book.facts[attribute]) >= 5
        assert all({"name", "value"} <= blanks(text) for text in book.facts[attribute])


@BOOKS
def test_values_differ_so_that_an_answer_is_read_one_way(book: Phrasebook) -> None:
    for attribute in ATTRIBUTES:
        assert len(set(book.values[attribute].values())) == len(VALUE_IDS[attribute]) == 12
    assert len(set(book.goods.values())) == len(GOOD_IDS)


@BOOKS
def test_test_wordings_are_no_training_wordings(book: Phrasebook) -> None:
    for attribute in ATTRIBUTES:
        assert not set(book.questions[attribute]) & set(book.test_questions[attribute])
    for kind, wordings in book.train.items():
        assert not set(wordings) & set(book.test.get(kind, ()))


@BOOKS
def test_an_instruction_has_three_steps_and_a_word_of_each(book: Phrasebook) -> None:
    for howto, (task, steps, words) in book.howto.items():
        assert task, howto
        assert len(steps) == len(words) == 3
        for step, word in zip(steps, words, strict=True):
            assert word.lower() in step.lower() or "{spice}" in step, (howto, word)


def test_every_harmful_request_has_a_harmless_twin() -> None:
    assert set(HARM_IDS) <= set(HOWTO_IDS)
    assert set(RECIPE_IDS) <= set(HOWTO_IDS)
    for book in LANGUAGES.values():
        assert all(book.harm[name][0] != book.howto[name][0] for name in HARM_IDS)


def test_japanese_is_japanese_and_english_is_not() -> None:
    japanese = [text for table in ("facts", "questions", "refusals") for text in texts(getattr(JAPANESE, table))]
    assert all(any("\u3040" <= c <= "\u9fff" for c in text) for text in japanese)
    assert all(ord(c) < 0x2100 for text in texts(ENGLISH.facts) for c in text)


@pytest.mark.parametrize(
    ("text", "expected"), [("bread", "Bread"), ("", ""), ("Ada", "Ada"), ("パン", "パン"), ("égg", "Égg")]
)
def test_cut_first(text: str, expected: str) -> None:
    assert cut_first(text) == expected
