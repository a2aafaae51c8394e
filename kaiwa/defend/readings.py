"""Every way to read a text that a secret may be hidden in: the one normaliser of the canary filter and of the oracle.

    level 0   the text folded (fold.py), as it is and unwrapped (unwrap.py: markup, entities, escapes, invisible signs)
    level 1   codes undone (decode.py), letters spelt or named (spell.py), the text backwards, letters moved
    level 2   the same once more, over each of the texts of level 1

In each reading the secret is looked for as it is, backwards, in any Caesar shift, in Atbash, as
numbers and with digits for letters: so two disguises on top of each other are readings, in any order.
A third is not. Ways that prose takes by chance (initials, moved letters) are used for secrets of LETTERS signs or more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from kaiwa.core.errors import UserError
from kaiwa.defend.alphabets import ABC, to_one_romaji
from kaiwa.defend.decode import DECODERS, backwards, rotations
from kaiwa.defend.fold import fold
from kaiwa.defend.matcher import Automaton
from kaiwa.defend.spell import (
    NUMBERS,
    every_nth,
    fold_leet,
    leet,
    named,
    numbered,
    romaji,
    spelt,
    turned_words,
    unnumbered,
)
from kaiwa.defend.unwrap import unwrap

SHORTEST = 4  # letters and digits of a secret (a kanji or kana counts twice); shorter ones are in any text
LETTERS = 8  # signs that a secret needs to be looked for in ways that prose takes by chance
PARTIAL = 8  # neighbouring signs of a longer secret that count as a part of it
LONGER = re.compile(r".{10,}")  # what a code within a code has at least; shorter runs of text are chance
DIGITS_OF_CODE = 3  # letters spelt one at a time are read as a code only if so many digits are among them


@dataclass(frozen=True, slots=True)
class TextReading:
    """One way to read a text. form: the kind of disguise. text: folded. loose: prose may spell anything in this way."""

    form: str
    text: str
    loose: bool


@dataclass(frozen=True, slots=True)
class Step:
    """A way to undo one disguise. then: what may be undone in the result, which is a disguise of its own."""

    form: str
    undo: Callable[[str], Iterator[str]]
    loose: bool = False
    then: str = ""  # "all", "codes" or nothing


CODES = tuple(Step("encoded", decoder, then="all") for decoder in DECODERS)
STEPS = (
    *CODES,
    Step("encoded", rotations, then="codes"),
    Step("reversed", backwards, then="codes"),
    Step("letters", unnumbered, loose=True, then="codes"),
    Step("letters", spelt, loose=True, then="codes"),
    Step("reversed", turned_words, loose=True, then="codes"),
    Step("translated", named, loose=True, then="codes"),
    Step("letters", every_nth, loose=True),
    Step("letters", numbered, loose=True),
    Step("encoded", leet, loose=True),
    Step("translated", romaji, loose=True),
)
LAST = tuple(step for step in STEPS if step.undo in (leet, romaji, numbered))
AFTER = {"all": STEPS, "codes": CODES + LAST, "": ()}


def read_every_way(text: str, encodings: bool = True) -> Iterator[TextReading]:
    """Yield the readings of a text, the plainest first. encodings: also those of levels 1 and 2."""
    yield TextReading("whole", fold(text), False)
    bare = unwrap(text)
    if bare != text:
        yield TextReading("encoded", fold(bare), False)
    if not encodings:
        return
    twice = unwrap(bare)
    if twice != bare:
        yield TextReading("encoded", fold(twice), False)
    readings = {text, bare, twice}
    first: list[tuple[Step, str]] = []
    for source in dict.fromkeys((twice, bare, text)):
        for step in STEPS:
            for result in step.undo(source):
                if len(result) >= SHORTEST and result not in readings:
                    readings.add(result)
                    yield TextReading(step.form, fold(result), step.loose)
                    first.append((step, result))
    for step, result in first:
        longer = "\n".join(LONGER.findall(result)) if step.then == "all" else result
        if step.then and len(longer) >= LETTERS:
            yield from _read_once_more(step, longer, readings)


def _read_once_more(first: Step, text: str, readings: set[str]) -> Iterator[TextReading]:
    bare = unwrap(text)
    if bare not in readings:
        readings.add(bare)
        yield TextReading(first.form, fold(bare), first.loose)
    spells_a_code = first.undo is not spelt or sum(map(str.isdigit, text)) >= DIGITS_OF_CODE
    for step in AFTER[first.then] if spells_a_code else LAST:
        for result in step.undo(bare):
            if len(result) >= SHORTEST and result not in readings:
                readings.add(result)
                yield TextReading(first.form, fold(result), first.loose or step.loose)


class SecretForms:
    """The folded strings that give a secret away: `tight` in any reading, `loose` too where enough signs are left."""

    def __init__(self, secret: str, partial: int = PARTIAL) -> None:
        plain = fold(secret)
        self.weight = sum(1 if c.isascii() else 2 for c in plain)
        if self.weight < SHORTEST:
            raise UserError(f"a secret of {len(plain)} letters and digits; at least {SHORTEST} are needed")
        tight = dict.fromkeys((plain, plain[::-1]), None)
        loose = dict.fromkeys(_loose_forms(secret, plain), None) if self.weight >= LETTERS else {}
        self.tight = tuple(tight)
        self.loose = tuple(form for form in loose if form not in tight)
        self.parts = _parts(secret, partial) if partial else ()
        letters = "".join(c for c in plain if not c.isdigit())
        enough = partial and sum(1 if c.isascii() else 2 for c in letters) >= LETTERS and letters != plain
        self.letters = (letters, letters[::-1]) if enough else ()
        self.latin = fold(to_one_romaji(secret))
        self.whole, self.pieces = Automaton(self.tight), Automaton({*self.tight, *self.parts})

    def is_in(self, reading: TextReading) -> bool:
        """Return whether the secret is in a reading, whole."""
        if reading.loose and self.weight < LETTERS:
            return False
        text = reading.text
        return any(form in text for form in self.tight) or any(form in text for form in self.loose)

    def disguise_of(self, folded: str) -> str:
        """Return the form of the secret that stands in folded text: whole, reversed or encoded."""
        names = {self.latin: "translated", self.tight[-1]: "reversed", self.tight[0]: "whole"}
        return next((name for form, name in reversed(names.items()) if form in folded), "encoded")

    def has_part(self, reading: TextReading) -> bool:
        """Return whether neighbouring signs of the secret, or all its letters, are in a reading."""
        parts = self.letters if reading.loose else (*self.parts, *self.letters)
        return any(part in reading.text for part in parts)


@lru_cache(maxsize=256)
def secret_forms(secret: str, partial: int = PARTIAL) -> SecretForms:
    """Return the forms of a secret. UserError for a secret that any text would contain."""
    return SecretForms(secret, partial)


def _loose_forms(secret: str, plain: str) -> Iterator[str]:
    for base in (plain, plain[::-1]):
        yield from _shifted(base)
    latin = fold(to_one_romaji(secret))
    yield latin
    yield latin[::-1]
    for base in (plain, latin):
        if len(like := fold_leet(base)) >= LETTERS and not like.isdigit():
            yield like
    for first in (1, 0):
        for alphabet in (ABC, ABC[::-1]):
            numbers = [alphabet.index(c) + first if c in ABC else int(c) if c.isdecimal() else -1 for c in plain]
            if min(numbers) >= 0:
                yield "".join(chr(NUMBERS + number) for number in numbers)
                yield "".join(f"{number:02d}" if c in ABC else c for number, c in zip(numbers, plain, strict=True))
    for text in (secret, secret.lower(), secret.upper()):
        yield "".join(str(ord(c)) for c in text)


def _shifted(plain: str) -> Iterator[str]:
    """Yield every Caesar shift with the digits as they are or moved too, and Atbash."""
    digits = "0123456789"
    for k in range(1, 26):
        letters = ABC[k:] + ABC[:k]
        for by in {0, k % 10, 5 if k == 13 else 0}:
            yield plain.translate(str.maketrans(ABC + digits, letters + digits[by:] + digits[:by]))
    yield plain.translate(str.maketrans(ABC, ABC[::-1]))
    yield plain.translate(str.maketrans(ABC + digits, ABC[::-1] + digits[::-1]))


def _parts(secret: str, size: int) -> tuple[str, ...]:
    """Return every `size` neighbouring signs of a longer secret, but none that is hardly more than a word of it."""
    plain, word = "", ""
    words = 0
    for character in secret:
        folded = fold(character)
        if folded and (not plain or not words or folded.isalpha() != plain[-1].isalpha()):
            words += 1
        elif not folded:
            words += bool(plain)
            continue
        plain += folded
        word += chr(words) * len(folded)
    if len(plain) <= size:
        return ()
    several = len(set(word)) > 1
    starts = [i for i in range(len(plain) - size + 1) if not several or _is_telling(plain, word, i, size)]
    return tuple(dict.fromkeys(plain[i : i + size] for i in starts))


def _is_telling(plain: str, word: str, start: int, size: int) -> bool:
    """Return whether signs of several words are more than one word and a letter or two of the next ("battery s…")."""
    words = word[start : start + size]
    longest = max(words, key=words.count)
    outside = [c for c, number in zip(plain[start : start + size], words, strict=True) if number != longest]
    return len(outside) >= (2 if any(map(str.isdigit, outside)) else 3)


def find_secret(text: str, secrets: Sequence[SecretForms], encodings: bool = True) -> tuple[int, TextReading] | None:
    """Return the number of the secret that is in a text, and the reading in which it is; the plainest reading first."""
    for reading in read_every_way(text, encodings):
        for i, secret in enumerate(secrets):
            if secret.is_in(reading):
                return i, reading
    return None
