"""Enclosures: marks around untrusted text, and a sentence that explains the marks.

The prompt-injection literature calls delimiters and quoting "delimiting" (Hines et al. 2024, section 3.1; "isolation"
in Chen et al. 2024, StruQ). A mark that is known can be forged, so delimiters inside the text are taken out first, and
the random sequence is drawn anew for each request. The random sequence is explained in the user's turn, not in the
system's turn: so the system's tokens stay the same from request to request, and a prefix cache holds the tokens.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

from kaiwa.defend import words
from kaiwa.defend.turns import Span, Turns, append_to_system, language_of, map_data

Style = Literal["tags", "hashes", "quotes"]
MARKS: dict[str, tuple[str, str]] = {
    "tags": ("<untrusted>", "</untrusted>"),
    "hashes": ("### BEGIN", "### END"),
    "quotes": ("<<<", ">>>"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delimiters:
    """Fixed marks around each untrusted stretch."""

    style: Style = "tags"

    def rewrite(self, turns: Turns, seed: int) -> Turns:
        begin, end = MARKS[self.style]

        def enclose(text: str) -> tuple[Span, ...]:
            return Span(f"{begin}\n"), Span(remove_marks(text, (begin, end)), data=True), Span(f"\n{end}")

        explanation = words.ENCLOSED[language_of(turns)].format(begin=begin, end=end)
        return append_to_system(map_data(turns, enclose), explanation)


def remove_marks(text: str, marks: tuple[str, ...]) -> str:
    """Return the text with every mark, in any case or spacing, replaced by a dot.

    The dot keeps the text on both sides from becoming a mark. (StruQ filters again and again instead, which costs the
    square of the length.)
    """
    pattern = re.compile("|".join(r"\s*".join(map(re.escape, mark.replace(" ", ""))) for mark in marks), re.IGNORECASE)
    return pattern.sub("·", text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoting:
    """Each line of untrusted text begins with "> ", as mail quotes: no line can step out of it."""

    def rewrite(self, turns: Turns, seed: int) -> Turns:
        def quote(text: str) -> tuple[Span, ...]:
            spans = [s for line in text.splitlines() or [""] for s in (Span("\n> "), Span(line, data=True))]
            return Span("> "), *spans[1:]

        return append_to_system(map_data(turns, quote), words.QUOTED[language_of(turns)])


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomSequence:
    """A line of random characters before and after each untrusted stretch (random sequence enclosure)."""

    length: int = 16

    def rewrite(self, turns: Turns, seed: int) -> Turns:
        mark = "=" + hashlib.sha256(f"{seed}".encode()).hexdigest()[: self.length] + "="
        explanation = words.RANDOM[language_of(turns)].format(mark=mark)

        def enclose(text: str) -> tuple[Span, ...]:
            return Span(f"{explanation}\n{mark}\n"), Span(text.replace(mark, ""), data=True), Span(f"\n{mark}")

        return map_data(turns, enclose)
