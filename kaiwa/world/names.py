"""Names of villagers and of unknown people, from one generator.

A name has three morae (consonant and vowel) and sometimes a final n: English "Norivan", Japanese 「ノリヴァン」.
Names of known and unknown people come from the same generator. Any two villagers' names, and a fresh name and any
villager's name, differ in at least two morae, so that the form of a name does not show whether the person is known.

The hash of a name assigns the name to one of three pools (documents, train, test), so that pools share no fresh name.
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

# Parts of words that would read as an insult, a body part or an everyday word.
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
    """Return a name in the script of a language."""
    return katakana(morae) if language == "ja" else romanised(morae)


def draw_morae(rng: random.Random) -> Morae:
    """Return three morae and, in half of the cases, a final n, without unwanted words."""
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
    """Return the pool ("documents", "train" or "test") of a romanised name, the same with and without final n."""
    return POOLS[hashlib.sha256(romaji.lower().removesuffix("n").encode()).digest()[0] % len(POOLS)]


def shared_pairs(morae: Morae) -> tuple[tuple[int, int, str, str], ...]:
    """Return the three pairs of morae with positions; two names share a pair if they differ in fewer than two morae."""
    return tuple((i, j, morae[i], morae[j]) for i, j in combinations(range(3), 2))


class NameBook:
    """The taken names. A free name differs in at least two morae from every taken name."""

    def __init__(self, names: Iterable[Morae] = ()) -> None:
        self._pairs: set[tuple[int, int, str, str]] = set()
        for morae in names:
            self.add(morae)

    def add(self, morae: Morae) -> None:
        """Add a taken name."""
        self._pairs.update(shared_pairs(morae))

    def is_free(self, morae: Morae) -> bool:
        """Return whether a name differs in at least two morae from every taken name."""
        return not any(pair in self._pairs for pair in shared_pairs(morae))

    def draw(self, rng: random.Random, *, pool: str | None = None) -> Morae:
        """Return a free name, from `pool` if given. Free names run out beyond about 1,000 taken names."""
        for _ in range(10_000):
            morae = draw_morae(rng)
            if self.is_free(morae) and (pool is None or pool_of(romanised(morae)) == pool):
                return morae
        raise RuntimeError("no free name found in 10,000 draws: the village is too large for three morae")
