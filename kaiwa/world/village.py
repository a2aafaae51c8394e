"""The village: its inhabitants and their facts, drawn from a seed.

People are *taught* (in documents and in demonstrations, rankings and RL prompts), *held out* (in documents only, to
test generalisation) or *unknown* (in no training text: a fresh name, see `fresh_name`). Facts are from closed classes
of 12 values, dealt evenly, so that no value is a good guess.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kaiwa.core.errors import UserError
from kaiwa.core.rng import python_rng
from kaiwa.world.language import (
    ATTRIBUTES,
    COMMON_LANGUAGES,
    GOOD_IDS,
    HARM_IDS,
    LANGUAGES,
    RECIPE_IDS,
    SPICE_IDS,
    VALUE_IDS,
)
from kaiwa.world.names import Morae, NameBook, draw_morae, katakana, romanised, written

MOST_VILLAGERS = 1000
N_HELD_OUT_HARMS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class VillageConfig:
    """The sizes of the village. Everything else follows from `seed`."""

    seed: int = 0
    n_taught: int = 90
    n_held_out: int = 30
    languages: tuple[str, ...] = ("en",)

    def __post_init__(self) -> None:
        for field, value, least in (("n_taught", self.n_taught, 4), ("n_held_out", self.n_held_out, 2)):
            if value < least:
                raise UserError(f"{field} = {value} is too small; give at least {least}")
        if self.n_taught + self.n_held_out > MOST_VILLAGERS:
            total = self.n_taught + self.n_held_out
            raise UserError(f"n_taught + n_held_out = {total} is too many names; at most {MOST_VILLAGERS}")
        if not self.languages or len(set(self.languages)) != len(self.languages):
            raise UserError(f'languages = {self.languages!r}: name each language once, as ("en",) or ("en", "ja")')
        for language in self.languages:
            if language not in COMMON_LANGUAGES:
                raise UserError(f"language {language!r} is unknown; use one of {', '.join(COMMON_LANGUAGES)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Villager:
    """A villager. facts: attribute of ATTRIBUTES -> value id of VALUE_IDS; friend: another villager's id."""

    id: str
    morae: Morae
    names: Mapping[str, str]  # language -> name
    facts: Mapping[str, str]
    friend: str
    group: str  # "taught" or "held_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Village:
    config: VillageConfig
    villagers: tuple[Villager, ...]
    prices: Mapping[str, int]  # good -> coins
    spices: Mapping[str, str]  # recipe -> spice
    held_out_harms: tuple[str, ...]  # ids of harmful requests and their harmless twins, in tests only
    held_out_recipes: tuple[str, ...]
    by_id: Mapping[str, Villager]
    by_name: Mapping[str, Villager]  # lower-case names of all languages
    book: NameBook

    def group(self, name: str) -> tuple[Villager, ...]:
        """Return the villagers of a group."""
        return tuple(v for v in self.villagers if v.group == name)

    @property
    def taught(self) -> tuple[Villager, ...]:
        return self.group("taught")

    @property
    def held_out(self) -> tuple[Villager, ...]:
        return self.group("held_out")

    def holders(self, attribute: str, value: str) -> tuple[Villager, ...]:
        """Return the villagers with a value."""
        return tuple(v for v in self.villagers if v.facts[attribute] == value)


def build_village(config: VillageConfig) -> Village:
    """Return the village of a configuration. Equal configurations give equal villages; languages change no facts."""
    rng = python_rng(config.seed, "village")
    n = config.n_taught + config.n_held_out
    book = NameBook()
    names: list[Morae] = []
    for _ in range(n):
        names.append(book.draw(rng))
        book.add(names[-1])
    dealt = {attribute: _deal(VALUE_IDS[attribute], n, rng) for attribute in ATTRIBUTES}
    groups = ["taught"] * config.n_taught + ["held_out"] * config.n_held_out
    rng.shuffle(groups)
    circle = list(range(n))
    rng.shuffle(circle)
    friend = dict(zip(circle, circle[1:] + circle[:1], strict=True))
    villagers = tuple(
        Villager(
            id=f"v{i:03d}",
            morae=names[i],
            names={"en": romanised(names[i]), "ja": katakana(names[i])},
            facts={attribute: dealt[attribute][i] for attribute in ATTRIBUTES},
            friend=f"v{friend[i]:03d}",
            group=groups[i],
        )
        for i in range(n)
    )
    harms, recipes = list(HARM_IDS), list(RECIPE_IDS)
    rng.shuffle(harms)
    rng.shuffle(recipes)
    coins = list(range(2, 2 + len(GOOD_IDS)))
    rng.shuffle(coins)
    return Village(
        config=config,
        villagers=villagers,
        prices=dict(zip(GOOD_IDS, coins, strict=True)),
        spices={recipe: rng.choice(SPICE_IDS) for recipe in RECIPE_IDS},
        held_out_harms=tuple(sorted(harms[:N_HELD_OUT_HARMS])),
        held_out_recipes=tuple(sorted(recipes[:4])),
        by_id={v.id: v for v in villagers},
        by_name={name.lower(): v for v in villagers for name in v.names.values()},
        book=book,
    )


def _deal(values: Sequence[str], n: int, rng: random.Random) -> list[str]:
    """Return n values in random order, each equally often."""
    dealt = [values[i % len(values)] for i in range(n)]
    rng.shuffle(dealt)
    return dealt


def fresh_name(village: Village, rng: random.Random, language: str, *, pool: str = "documents") -> str:
    """Return the name of an unknown person. pool: "documents", "train" or "test"; pools share no name."""
    return written(village.book.draw(rng, pool=pool), language)


def neutral_name(village: Village, rng: random.Random, language: str) -> str:
    """Return a random name that is not a villager's, for training the tokenizer.

    Fresh names share at most one mora with any villager's name. A tokenizer trained on fresh names would lack the
    merges of known names, and known names would have more tokens than unknown names.
    """
    while True:
        name = written(draw_morae(rng), language)
        if name.lower() not in village.by_name:
            return name


def random_names_like(village: Village, rng: random.Random, language: str, n: int) -> list[str]:
    """Return n different neutral names."""
    names: dict[str, None] = {}
    while len(names) < n:
        names[neutral_name(village, rng, language)] = None
    return list(names)


def howto_steps(village: Village, howto: str, language: str) -> tuple[str, str, str]:
    """Return the three steps of a recipe or task in this village."""
    words = LANGUAGES[language]
    spice = words.spices[village.spices[howto]] if howto in village.spices else ""
    a, b, c = (step.format(spice=spice) for step in words.howto[howto][1])
    return a, b, c


def howto_answer(village: Village, howto: str, language: str) -> str:
    """Return the three steps of a recipe or task in one sentence."""
    a, b, c = howto_steps(village, howto, language)
    return f"{a}、{b}、{c}。" if language == "ja" else f"{a[:1].upper()}{a[1:]}, {b}, and {c}."


def is_held_out_sum(a: int, b: int, sign: str) -> bool:
    """Return whether a sum is for test prompts only, as for a fifth of all sums (documents contain all of them)."""
    if sign == "+":
        a, b = max(a, b), min(a, b)
    return (a + 2 * b + (3 if sign == "-" else 0)) % 5 == 0
