"""The two languages of the village: tables of words and sentences, read from english/*.toml and japanese/*.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

FILES = ("words", "documents", "howto", "prompts", "dialogues")
ATTRIBUTES = ("trade", "home", "animal", "food")  # closed classes of facts about a villager
COMMON_LANGUAGES = ("en", "ja")

Sentences = tuple[str, ...]
ByAttribute = Mapping[str, Sentences]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrasebook:
    """The words and sentences of one language. Templates have str.format fields, described in the data files."""

    code: str
    joint: str  # between two sentences
    values: Mapping[str, Mapping[str, str]]
    goods: Mapping[str, str]
    spices: Mapping[str, str]
    facts: ByAttribute
    follow: ByAttribute
    labels: Mapping[str, str]
    clauses: Mapping[str, str]
    short: Mapping[str, str]
    questions: ByAttribute
    test_questions: ByAttribute
    again: ByAttribute
    test_again: ByAttribute
    howto: Mapping[str, tuple[str, tuple[str, str, str], tuple[str, str, str]]]
    harm: Mapping[str, tuple[str, str]]
    train: ByAttribute
    test: ByAttribute
    forms: ByAttribute
    things: Mapping[str, str]
    unknown: Sentences
    unknown_named: Sentences
    refusals: Sentences
    padding: Sentences
    small_talk: ByAttribute
    small_talk_keys: Mapping[str, str]
    price: Sentences
    sum: Sentences
    reverse: Mapping[str, str]
    yes: str
    no: str
    pools: ByAttribute
    links: Mapping[str, ByAttribute]  # of dialogues: link -> "open", "ask", "test" … -> sentences
    clause_glue: str  # between the clauses of a sentence about one person
    clause_form: str  # the sentence itself; {name}, {clauses}


def read_phrasebook(folder: str) -> Phrasebook:
    """Return the phrasebook of a folder, such as "english". Arrays become tuples, tables keep their order."""
    values: dict[str, Any] = {}
    for name in FILES:
        text = resources.files("kaiwa.world").joinpath(folder, f"{name}.toml").read_text(encoding="utf-8")
        values |= {key: _frozen(value) for key, value in tomllib.loads(text).items()}
    return Phrasebook(**values)


def _frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    return {key: _frozen(item) for key, item in value.items()} if isinstance(value, dict) else value


ENGLISH, JAPANESE = read_phrasebook("english"), read_phrasebook("japanese")
LANGUAGES: dict[str, Phrasebook] = {"en": ENGLISH, "ja": JAPANESE}
VALUE_IDS: dict[str, tuple[str, ...]] = {attribute: tuple(ENGLISH.values[attribute]) for attribute in ATTRIBUTES}
GOOD_IDS = tuple(ENGLISH.goods)
SPICE_IDS = tuple(ENGLISH.spices)
HOWTO_IDS = tuple(ENGLISH.howto)
HARM_IDS = tuple(ENGLISH.harm)
RECIPE_IDS = VALUE_IDS["food"]


def cut_first(text: str) -> str:
    """Return the text with its first letter in upper case."""
    return text[:1].upper() + text[1:]
