"""Similarity to known attacks: the share of an attack's character n-grams that stand close together in the text.

Grams are taken of folded text (fold.py), so that case, spaces, width and look-alike letters change nothing, and the
text is also read backwards, in rot13, with digits for letters, and with its base64 undone. `suspicion` is the highest
share over all known sentences and all stretches of about a sentence's length; a paraphrase in other words passes.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from kaiwa.core.errors import UserError
from kaiwa.defend import words
from kaiwa.defend.defence import Block
from kaiwa.defend.fold import fold
from kaiwa.defend.known import KNOWN
from kaiwa.defend.turns import Turns, data_of, language_of

GRAM = 4  # characters of Latin text; of Japanese, whose characters say more, 2
STRETCH = 1.5  # a sentence's grams may be spread over so many times its length
LEET = str.maketrans("01345789", "oieastbg")
BASE64 = re.compile(r"[A-Za-z0-9+/]{16,}={0,2}")
PART = 4000  # characters read at once, so that a text of one gram again and again takes no memory
MOST = 200_000
FEWEST = 4  # grams of a sentence that can be compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarity:
    """Untrusted text that is like a known attack is refused.

    `threshold`: from 0 to 1. `file`: further sentences, one a line (# begins a remark).
    """

    threshold: float = 0.75
    file: str = ""
    reply: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise UserError(f"similarity: threshold is {self.threshold}; give more than 0 and at most 1")
        index(self.file)

    def check(self, turns: Turns) -> Block | None:
        """All untrusted stretches as one text, so that a sentence cut over turns is whole."""
        value = self.suspicion("\n".join(data_of(turns)))
        if value <= self.threshold:
            return None
        reason = f"similarity: {value:.2f} of a known attack, {self.threshold:.2f} is the limit"
        return Block(reason=reason, reply=self.reply or words.REFUSED[language_of(turns)])

    def suspicion(self, text: str, language: str = "en") -> float:
        """The highest share. UserError for a text too long to be read."""
        if len(text) > MOST:
            raise UserError(f"similarity: a text of {len(text):,} characters; at most {MOST:,} are compared")
        known = index(self.file)
        overlap = int(STRETCH * max(known.lengths)) + GRAM
        return max(
            highest_share(known, version[start : start + PART + overlap])
            for version in versions(text)
            for start in range(0, max(1, len(version)), PART)
        )


@dataclass(frozen=True, slots=True)
class Index:
    """`where`: the sentences that hold a gram; `sizes`: how many grams each has; `lengths`: its characters."""

    where: dict[str, tuple[int, ...]]
    sizes: tuple[int, ...]
    lengths: tuple[int, ...]


@lru_cache(maxsize=16)
def index(file: str = "") -> Index:
    """UserError where the file cannot be read or a line is too short to be compared."""
    where: defaultdict[str, list[int]] = defaultdict(list)
    sizes: list[int] = []
    lengths: list[int] = []
    for sentence in (*KNOWN, *_lines(file)):
        folded = fold(sentence)
        found = set(grams(folded))
        if len(found) < FEWEST:
            raise UserError(f"{file}: {sentence!r} is too short to be told from other text; write the whole sentence")
        for gram in found:
            where[gram].append(len(sizes))
        sizes.append(len(found))
        lengths.append(len(folded))
    return Index({gram: tuple(found) for gram, found in where.items()}, tuple(sizes), tuple(lengths))


def _lines(file: str) -> list[str]:
    if not file:
        return []
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"similarity: {file} cannot be read ({error}); give a text file, one sentence a line") from None
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def grams(folded: str) -> list[str]:
    """One a character: what begins there, as long as its kind of character wants."""
    return [folded[i : i + (GRAM if c.isascii() else 2)] for i, c in enumerate(folded)][: len(folded) - 1]


def highest_share(known: Index, folded: str) -> float:
    """The highest share of a sentence's grams within STRETCH times its length."""
    hits: defaultdict[int, list[tuple[int, str]]] = defaultdict(list)
    for place, gram in enumerate(grams(folded)):
        for sentence in known.where.get(gram, ()):
            hits[sentence].append((place, gram))
    best = 0.0
    for sentence, found in hits.items():
        if len(found) > best * known.sizes[sentence]:
            most = _most_distinct(found, int(STRETCH * known.lengths[sentence]))
            best = max(best, most / known.sizes[sentence])
    return best


def _most_distinct(found: list[tuple[int, str]], width: int) -> int:
    """How many different grams stand within `width` characters of each other, at most."""
    counts: dict[str, int] = {}
    first = most = 0
    for place, gram in found:
        counts[gram] = counts.get(gram, 0) + 1
        while place - found[first][0] >= width:
            gone = found[first][1]
            first += 1
            counts[gone] -= 1
            if not counts[gone]:
                del counts[gone]
        most = max(most, len(counts))
    return most


def versions(text: str) -> list[str]:
    """The folded text as it is and as a reader might undo it."""
    folded = fold(text)
    found = [folded, folded[::-1], codecs.encode(folded, "rot13")]
    if any(c.isdigit() for c in folded):
        found.append(folded.translate(LEET))
    for blob in BASE64.findall(text):
        try:
            found.append(fold(base64.b64decode(blob[: len(blob) // 4 * 4]).decode()))
        except (binascii.Error, UnicodeDecodeError):
            continue
    return found
