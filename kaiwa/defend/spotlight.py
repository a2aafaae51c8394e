"""Spotlighting: untrusted text is made to look different throughout (Hines et al. 2024, sections 3.2 and 3.3).

Datamarking replaces spaces by a mark. Japanese has no spaces, which the paper does not treat: there the mark goes
between phrases, cut where the script changes (kanji with the kana after them; katakana), and long runs are cut
every few characters. Encoding sends the text as base64, which only a strong model can read.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from itertools import pairwise

from kaiwa.core.errors import UserError
from kaiwa.defend import words
from kaiwa.defend.turns import Span, Turns, append_to_system, language_of, map_data

PHRASE = r"[一-鿿々]+[ぁ-ゟ]*|[ぁ-ゟ]+|[ァ-ヿㇰ-ㇿｦ-ﾟ]+"
PIECE = re.compile(rf"\n|[^\S\n]+|{PHRASE}|(?:(?![一-鿿々ぁ-ゟァ-ヿㇰ-ㇿｦ-ﾟ])\S)+")
JAPANESE = re.compile(PHRASE)
POOL = "^~¦|¬"  # characters of a random mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Datamarking:
    """A mark between the words of untrusted text.

    `mark`: "random" draws one for each request. `every`: at most so many characters of Japanese without a mark.
    """

    mark: str = "^"
    every: int = 4

    def __post_init__(self) -> None:
        if not self.mark or self.mark.isspace() or self.every < 1:
            raise UserError(f"datamarking: mark is {self.mark!r} and every is {self.every}; give a mark and 1 or more")

    def rewrite(self, turns: Turns, seed: int) -> Turns:
        mark = _draw_mark(seed) if self.mark == "random" else self.mark

        def add_marks(text: str) -> tuple[Span, ...]:
            return (Span(mark_words(text, mark, self.every), data=True),)

        return append_to_system(map_data(turns, add_marks), words.MARKED[language_of(turns)].format(mark=mark))


def _draw_mark(seed: int) -> str:
    digest = hashlib.sha256(f"{seed}".encode()).digest()
    return "".join(POOL[byte % len(POOL)] for byte in digest[:2])


def mark_words(text: str, mark: str, every: int = 4) -> str:
    """Return the text with marks between words. Marks already in the text are removed first; lines stay lines."""
    pieces = PIECE.findall(text.replace(mark, " "))
    parts = [_mark_piece(piece, mark, every) for piece in pieces]
    out = "".join(part + mark * _is_joint(a, b) for part, (a, b) in zip(parts, pairwise(pieces), strict=False))
    return out + (parts[-1] if parts else "")


def _mark_piece(piece: str, mark: str, every: int) -> str:
    if piece == "\n":
        return f"{mark}\n"
    if piece.isspace():
        return mark
    if JAPANESE.fullmatch(piece):
        return mark.join(piece[i : i + every] for i in range(0, len(piece), every))
    return piece


def _is_joint(before: str, after: str) -> bool:
    """Return whether a mark goes between two pieces: where Japanese meets a letter or digit, on either side."""
    if before.isspace() or after.isspace():
        return False
    japanese = JAPANESE.fullmatch(before) or JAPANESE.fullmatch(after)
    return bool(japanese) and (after[0].isalnum() or before == "」")


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """Untrusted text as base64 of its UTF-8."""

    def rewrite(self, turns: Turns, seed: int) -> Turns:
        def encode(text: str) -> tuple[Span, ...]:
            data = base64.b64encode(text.encode()).decode()
            return Span("<base64>"), Span(data, data=True), Span("</base64>")

        return append_to_system(map_data(turns, encode), words.ENCODED[language_of(turns)])
