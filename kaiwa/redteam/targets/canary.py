r"""Canaries: the random secret of one trial, drawn from the regular expression that the target gives.

    pattern "(otter|heron)-[0-9]{4}"  ->  "heron-7204"

Only finite choices are understood: letters, escapes (\d \w \-), classes [a-z0-9], groups, |, ?, {m}, {m,n}. A
secret that a model could guess proves nothing: the likeliest secret, both as drawn and as leaks are recognised (letters
and digits, folded), must come at most once in FEWEST draws, and the shortest must be long enough for the canary filter.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from kaiwa.core.errors import UserError
from kaiwa.defend.fold import fold, fold_character
from kaiwa.defend.readings import SHORTEST

FEWEST = 10_000
LONGEST = 64
DIGITS = "0123456789"
WORD = DIGITS + "abcdefghijklmnopqrstuvwxyz"
REPEAT = re.compile(r"\{(\d+)(?:,(\d+))?\}")


@dataclass(frozen=True, slots=True)
class Alternatives:
    """A choice among several sequences; a character class is a choice among one-letter sequences."""

    options: tuple[Sequence[PatternPart], ...]


@dataclass(frozen=True, slots=True)
class PatternPart:
    """A letter or a choice, `low` to `high` times."""

    what: str | Alternatives
    low: int = 1
    high: int = 1


class Pattern:
    """A regular expression to draw from. UserError for a pattern that is not understood or too easily guessed."""

    def __init__(self, text: str, where: str = "pattern") -> None:
        self.text, self.where = text, where
        self._at = 0
        self._top = self._read_alternatives()
        if self._at < len(text):
            raise self._error("an unopened )")
        if longest_length(self._top) > LONGEST:
            raise UserError(
                f"{where}: {text!r} makes secrets of up to {longest_length(self._top)} characters; keep to {LONGEST}"
            )
        chances = likeliest_chances(self._top)
        most = max(chances.values())
        if most * FEWEST > 1 + 1e-9:
            raise UserError(
                f"{where}: {text!r} has a secret as easily guessed as one of only {int(1 / most + 1e-6):,}; a guess"
                f" would pass for a leak, so make it at least {FEWEST:,}, as in '[a-z]{{3}}[0-9]{{3}}'"
            )
        if min(chances) < SHORTEST:
            raise UserError(
                f"{where}: {text!r} makes secrets of only {min(chances)} letters and digits; any text may hold one, so"
                f" give it at least {SHORTEST} (a kanji or kana counts twice)"
            )

    def draw(self, rng: random.Random) -> str:
        return _draw(self._top, rng)

    def _error(self, what: str) -> UserError:
        return UserError(
            f"{self.where}: {self.text!r} has {what} at {self._at + 1}; use letters, [classes], (groups|of|words), ?,"
            " {m} and {m,n}"
        )

    def _read_alternatives(self) -> Alternatives:
        options = [self._read_sequence()]
        while self._at < len(self.text) and self.text[self._at] == "|":
            self._at += 1
            options.append(self._read_sequence())
        return Alternatives(tuple(options))

    def _read_sequence(self) -> tuple[PatternPart, ...]:
        parts: list[PatternPart] = []
        while self._at < len(self.text) and self.text[self._at] not in "|)":
            what = self._read_part()
            low, high = self._read_repeat()
            parts.append(PatternPart(what, low, high))
        return tuple(parts)

    def _read_part(self) -> str | Alternatives:
        letter = self.text[self._at]
        self._at += 1
        if letter == "(":
            if self.text.startswith("?:", self._at):
                self._at += 2
            group = self._read_alternatives()
            if self._at >= len(self.text):
                raise self._error("a ( that is not closed")
            self._at += 1
            return group
        if letter == "[":
            return _letters(self._class())
        if letter == "\\":
            return self._escape()
        if letter in ".*+^$?{":
            self._at -= 1
            raise self._error(f"a {letter}")
        return letter

    def _escape(self) -> str | Alternatives:
        if self._at >= len(self.text):
            raise self._error("nothing behind \\")
        letter = self.text[self._at]
        self._at += 1
        if letter in "dw":
            return _letters(DIGITS if letter == "d" else WORD)
        if letter.isalnum():
            self._at -= 1
            raise self._error(f"\\{letter}")
        return letter

    def _class(self) -> str:
        letters = ""
        while self._at < len(self.text) and (self.text[self._at] != "]" or not letters):
            letter = self.text[self._at]
            self._at += 1
            if letter == "^" and not letters:
                self._at -= 1
                raise self._error("a class of what it is not")
            if letter == "\\":
                escaped = self._escape()
                letters += escaped if isinstance(escaped, str) else "".join(str(o[0].what) for o in escaped.options)
                continue
            end = self.text[self._at + 1 : self._at + 2]
            if self.text[self._at : self._at + 1] == "-" and end not in ("", "]"):
                if end < letter:
                    raise self._error(f"the range {letter}-{end}")
                letters += "".join(map(chr, range(ord(letter), ord(end) + 1)))
                self._at += 2
            else:
                letters += letter
        if self._at >= len(self.text):
            raise self._error("a [ that is not closed")
        self._at += 1
        return letters

    def _read_repeat(self) -> tuple[int, int]:
        if self.text[self._at : self._at + 1] == "?":
            self._at += 1
            return 0, 1
        match = REPEAT.match(self.text, self._at)
        if match is None:
            return 1, 1
        self._at = match.end()
        low, high = int(match[1]), int(match[2] or match[1])
        if high < low:
            raise self._error(f"{match[0]} before")
        return low, high


@cache
def read_pattern(text: str, where: str = "pattern") -> Pattern:
    """Parse a pattern, once per text."""
    return Pattern(text, where)


def _letters(text: str) -> Alternatives:
    return Alternatives(tuple((PatternPart(letter),) for letter in dict.fromkeys(text)))


def _draw(choice: Alternatives, rng: random.Random) -> str:
    text = ""
    for part in rng.choice(choice.options):
        for _ in range(rng.randint(part.low, part.high)):
            text += part.what if isinstance(part.what, str) else _draw(part.what, rng)
    return text


def likeliest_chances(choice: Alternatives) -> dict[int, float]:
    """Return, by length (letters and digits as the canary filter counts them), the chance that `_draw` gives the
    likeliest secret.

    The chance is a lower bound where a secret can be split into its parts in several ways. Options that fold to the
    same text are one; beyond that, different options count as different secrets.
    """
    merged: dict[object, dict[int, float]] = {}
    for option in choice.options:
        chances = {0: 1.0}
        for part in option:
            chances = _join_chances(chances, _repeat_chances(part))
        plain = all(isinstance(part.what, str) and part.low == part.high for part in option)
        folded: object = fold("".join(str(part.what) * part.low for part in option)) if plain else option
        by_length = merged.setdefault(folded, {})
        for n, chance in chances.items():
            by_length[n] = by_length.get(n, 0.0) + chance / len(choice.options)
    likeliest: dict[int, float] = {}
    for by_length in merged.values():
        for n, chance in by_length.items():
            likeliest[n] = max(likeliest.get(n, 0.0), chance) if n else likeliest.get(n, 0.0) + chance
    return likeliest


def _repeat_chances(part: PatternPart) -> dict[int, float]:
    if not part.high or (isinstance(part.what, Alternatives) and not longest_length(part.what)):
        return {0: 1.0}
    once = {_folded_length(part.what): 1.0} if isinstance(part.what, str) else likeliest_chances(part.what)
    power, chances = {0: 1.0}, dict[int, float]()
    for k in range(part.high + 1):
        if k >= part.low:
            for n, chance in power.items():
                chances[n] = chances.get(n, 0.0) + chance / (part.high - part.low + 1)
        power = _join_chances(power, once)
    return chances


def _join_chances(first: dict[int, float], second: dict[int, float]) -> dict[int, float]:
    chances: dict[int, float] = {}
    for a, p in first.items():
        for b, q in second.items():
            chances[a + b] = chances.get(a + b, 0.0) + p * q
    return chances


def _folded_length(letter: str) -> int:
    return sum(1 if c.isascii() else 2 for c in fold_character(letter))


def longest_length(choice: Alternatives) -> int:
    return max(
        sum(part.high * (1 if isinstance(part.what, str) else longest_length(part.what)) for part in option)
        for option in choice.options
    )
