"""Spotlighting: untrusted text made to look different all the way through (Hines et al. 2024, sections 3.2 and 3.3).

Datamarking puts a mark where the spaces were. Japanese has no spaces, which the paper does not treat: there the mark
goes between phrases, cut where the script changes (kanji with the kana after them; katakana), and long runs are cut
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
from kaiwa.defend.turns import Span, Turns, language_of, map_data, tell

PHRASE = r"[一-鿿々]+[ぁ-ゟ]*|[ぁ-ゟ]+|[ァ-ヿㇰ-ㇿｦ-ﾟ]+"
PIECE = re.compile(rf"\n|[^\S\n]+|{PHRASE}|(?:(?![一-鿿々ぁ-ゟァ-ヿㇰ-ㇿｦ-ﾟ])\S)+")
JAPANESE = re.compile(PHRASE)
POOL = "^~¦|¬"  # of these a random mark is drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Datamarking:
    """A mark between the words of untrusted text.

    `mark`: "random" draws one a request. `every`: at most so many characters of Japanese without a mark.
    """

    mark: str = "^"
    every: int = 4

    def __post_init__(self) -> None:
        if not self.mark or self.mark.isspace() or self.every < 1:
            raise UserError(f"datamarking: mark is {self.mark!r} and every is {self.every}; give a mark and 1 or more")

    def rewrite(self, turns: Turns, seed: int) -> Turns:
        mark = _drawn(seed) if self.mark == "random" else self.mark
        told = words.MARKED[language_of(turns)].format(mark=mark)
        return tell(map_data(turns, lambda text: (Span(marked(text, mark, self.every), data=True),)), told)


def _drawn(seed: int) -> str:
    digest = hashlib.sha256(f"{seed}".encode()).digest()
    return "".join(POOL[byte % len(POOL)] for byte in digest[:2])


def marked(text: str, mark: str, every: int = 4) -> str:
    """Marks of the text's own are taken out first. Lines stay lines."""
    pieces = PIECE.findall(text.replace(mark, " "))
    made = [_cut(piece, mark, every) for piece in pieces]
    out = "".join(new + mark * _joint(a, b) for new, (a, b) in zip(made, pairwise(pieces), strict=False))
    return out + (made[-1] if made else "")


def _cut(piece: str, mark: str, every: int) -> str:
    if piece == "\n":
        return f"{mark}\n"
    if piece.isspace():
        return mark
    if JAPANESE.fullmatch(piece):
        return mark.join(piece[i : i + every] for i in range(0, len(piece), every))
    return piece


def _joint(left: str, right: str) -> bool:
    """Whether a mark goes between: where Japanese meets a letter or digit, on either side."""
    if left.isspace() or right.isspace():
        return False
    japanese = JAPANESE.fullmatch(left) or JAPANESE.fullmatch(right)
    return bool(japanese) and (right[0].isalnum() or left == "」")


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """Untrusted text as base64 of its UTF-8."""

    def rewrite(self, turns: Turns, seed: int) -> Turns:
        def encoded(text: str) -> tuple[Span, ...]:
            written = base64.b64encode(text.encode()).decode()
            return Span("<base64>"), Span(written, data=True), Span("</base64>")

        return tell(map_data(turns, encoded), words.ENCODED[language_of(turns)])
