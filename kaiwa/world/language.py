"""The two languages of the village: one table of words and sentences each, gathered from the data files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kaiwa.world.english import documents as english_documents
from kaiwa.world.english import howto as english_howto
from kaiwa.world.english import prompts as english_prompts
from kaiwa.world.english import words as english
from kaiwa.world.japanese import documents as japanese_documents
from kaiwa.world.japanese import howto as japanese_howto
from kaiwa.world.japanese import prompts as japanese_prompts
from kaiwa.world.japanese import words as japanese

ATTRIBUTES = ("trade", "home", "animal", "food")  # closed classes: what is asked about a villager
VALUE_IDS: dict[str, tuple[str, ...]] = {attribute: tuple(english.VALUES[attribute]) for attribute in ATTRIBUTES}
GOOD_IDS = tuple(english.GOODS)
SPICE_IDS = tuple(english.SPICES)
HOWTO_IDS = tuple(english_howto.HOWTO)
HARM_IDS = tuple(english_howto.HARM)
RECIPE_IDS = VALUE_IDS["food"]
COMMON_LANGUAGES = ("en", "ja")

Sentences = tuple[str, ...]
ByAttribute = Mapping[str, Sentences]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrasebook:
    """One language. Templates use str.format fields; see the data files for what each holds."""

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
    clause_glue: str  # between the clauses of a sentence about one person
    clause_form: str  # that sentence; {name}, {clauses}


ENGLISH = Phrasebook(
    code="en",
    joint=" ",
    values=english.VALUES,
    goods=english.GOODS,
    spices=english.SPICES,
    facts=english.FACTS,
    follow=english.FOLLOW,
    labels=english.LABELS,
    clauses=english.CLAUSES,
    short=english.SHORT,
    questions=english.QUESTIONS,
    test_questions=english.TEST_QUESTIONS,
    again=english.AGAIN,
    test_again=english.TEST_AGAIN,
    howto=english_howto.HOWTO,
    harm=english_howto.HARM,
    train=english_prompts.TRAIN,
    test=english_prompts.TEST,
    forms=english_prompts.FORMS,
    things=english_prompts.THINGS,
    unknown=english_prompts.UNKNOWN,
    unknown_named=english_prompts.UNKNOWN_NAMED,
    refusals=english_prompts.REFUSALS,
    padding=english_prompts.PADDING,
    small_talk=english_prompts.SMALL_TALK,
    small_talk_keys=english_prompts.SMALL_TALK_KEYS,
    price=english_prompts.PRICE,
    sum=english_prompts.SUM,
    reverse=english_prompts.REVERSE,
    yes=english_prompts.YES,
    no=english_prompts.NO,
    pools=english_documents.POOLS,
    clause_glue=" and ",
    clause_form="{name} {clauses}.",
)

JAPANESE = Phrasebook(
    code="ja",
    joint="",
    values=japanese.VALUES,
    goods=japanese.GOODS,
    spices=japanese.SPICES,
    facts=japanese.FACTS,
    follow=japanese.FOLLOW,
    labels=japanese.LABELS,
    clauses=japanese.CLAUSES,
    short=japanese.SHORT,
    questions=japanese.QUESTIONS,
    test_questions=japanese.TEST_QUESTIONS,
    again=japanese.AGAIN,
    test_again=japanese.TEST_AGAIN,
    howto=japanese_howto.HOWTO,
    harm=japanese_howto.HARM,
    train=japanese_prompts.TRAIN,
    test=japanese_prompts.TEST,
    forms=japanese_prompts.FORMS,
    things=japanese_prompts.THINGS,
    unknown=japanese_prompts.UNKNOWN,
    unknown_named=japanese_prompts.UNKNOWN_NAMED,
    refusals=japanese_prompts.REFUSALS,
    padding=japanese_prompts.PADDING,
    small_talk=japanese_prompts.SMALL_TALK,
    small_talk_keys=japanese_prompts.SMALL_TALK_KEYS,
    price=japanese_prompts.PRICE,
    sum=japanese_prompts.SUM,
    reverse=japanese_prompts.REVERSE,
    yes=japanese_prompts.YES,
    no=japanese_prompts.NO,
    pools=japanese_documents.POOLS,
    clause_glue="、",
    clause_form="{name}の{clauses}です。",
)

LANGUAGES: dict[str, Phrasebook] = {"en": ENGLISH, "ja": JAPANESE}


def cut_first(text: str) -> str:
    """Return the text with its first letter in upper case (a name or a Japanese text stays as it is)."""
    return text[:1].upper() + text[1:]
