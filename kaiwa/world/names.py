"""Names of villagers and of people nobody knows, from one generator.

A name is three morae (consonant and vowel) and sometimes a final n: English "Norivan", Japanese 「ノリヴァン」.
Known and unknown people draw from the same generator and any two villagers differ in two morae or more, as every fresh
name differs from every villager; so nothing in a name's form says whether its bearer is known.

Each name belongs by its hash to one of three pools (documents, train, test): a fresh name of one pool never comes up in
another.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from functools import lru_cache
from itertools import combinations

POOLS = ("documents", "train", "test")

KANA = {
    **dict(zip(("ka", "ki", "ku", "ke", "ko"), "カキクケコ", strict=True)),
    **dict(zip(("sa", "su", "se", "so"), "サスセソ", strict=True)),
    **dict(zip(("ta", "te", "to"), "タテト", strict=True)),
    **dict(zip(("na", "ni", "nu", "ne", "no"), "ナニヌネノ", strict=True)),
    **dict(zip(("ha", "he", "ho"), "ハヘホ", strict=True)),
    **dict(zip(("ma", "mi", "mu", "me", "mo"), "マミムメモ", strict=True)),
    **dict(zip(("ra", "ri", "ru", "re", "ro"), "ラリルレロ", strict=True)),
    **dict(zip(("ga", "gi", "gu", "ge", "go"), "ガギグゲゴ", strict=True)),
    **dict(zip(("za", "ze", "zo"), "ザゼゾ", strict=True)),
    **dict(zip(("da", "de", "do"), "ダデド", strict=True)),
    **dict(zip(("ba", "bi", "bu", "be", "bo"), "バビブベボ", strict=True)),
    **dict(zip(("pa", "pi", "pu", "pe", "po"), "パピプペポ", strict=True)),
    **dict(zip(("ya", "yu", "yo", "wa"), "ヤユヨワ", strict=True)),
    **{"fa": "ファ", "fi": "フィ", "fe": "フェ", "fo": "フォ"},
    **{"va": "ヴァ", "vi": "ヴィ", "ve": "ヴェ", "vo": "ヴォ"},
}
MORAE = tuple(KANA)

# Pieces of words that would be read as an insult, a body part or an everyday word.
_UNWANTED_TEXT = """
nig kike homo penis vagina pedo nazi rape nude dago sodo fuku puta puto popo pipi baka kuso debu busu hage boke sukebe
banana papaya tomato potato mama papa nana baba
"""
_UNWANTED = tuple(_UNWANTED_TEXT.split())

Morae = tuple[str, ...]


def romanised(morae: Morae) -> str:
    """Return a name in Latin letters."""
    return "".join(morae).capitalize()


def katakana(morae: Morae) -> str:
    """Return a name in katakana."""
    return "".join("ン" if mora == "n" else KANA[mora] for mora in morae)


def written(morae: Morae, language: str) -> str:
    """Return a name as a language writes it."""
    return katakana(morae) if language == "ja" else romanised(morae)


def draw_morae(rng: random.Random) -> Morae:
    """Return three morae and, half of the time, a final n; never an unwanted word."""
    while True:
        morae: Morae = (rng.choice(MORAE), rng.choice(MORAE), rng.choice(MORAE))
        if morae[0] == morae[1] or morae[1] == morae[2]:
            continue
        if rng.random() < 0.5:
            morae += ("n",)
        if not any(piece in "".join(morae) for piece in _UNWANTED):
            return morae


@lru_cache(maxsize=65536)
def pool_of(romaji: str) -> str:
    """Return the pool ("documents", "train" or "test") of a romanised name; a final n makes no difference."""
    return POOLS[hashlib.sha256(romaji.lower().removesuffix("n").encode()).digest()[0] % len(POOLS)]


def shared_pairs(morae: Morae) -> tuple[tuple[int, int, str, str], ...]:
    """Return what two names that differ in fewer than two of their three morae have in common."""
    return tuple((i, j, morae[i], morae[j]) for i, j in combinations(range(3), 2))


class NameBook:
    """The names that are taken, so that every new one stays two morae away from all of them."""

    def __init__(self, names: Iterable[Morae] = ()) -> None:
        self._pairs: set[tuple[int, int, str, str]] = set()
        for morae in names:
            self.add(morae)

    def add(self, morae: Morae) -> None:
        """Take a name, so that no near one is drawn."""
        self._pairs.update(shared_pairs(morae))

    def is_free(self, morae: Morae) -> bool:
        """Return whether no near name is taken."""
        return not any(pair in self._pairs for pair in shared_pairs(morae))

    def draw(self, rng: random.Random, *, pool: str | None = None) -> Morae:
        """Return a free name; of one pool, if one is named. Free names run out beyond about 1,000 taken ones."""
        for _ in range(10_000):
            morae = draw_morae(rng)
            if self.is_free(morae) and (pool is None or pool_of(romanised(morae)) == pool):
                return morae
        raise RuntimeError("no free name found in 10,000 draws: the village is too large for three morae")
