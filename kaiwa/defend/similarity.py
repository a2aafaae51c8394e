"""Similarity to known attacks: the share of an attack's character n-grams that are close together in the text.

The n-grams are taken from folded text (fold.py), so that case, spaces, width and look-alike letters change nothing. The
text is also read backwards, in rot13, with digits for letters, and with its base64 decoded. `suspicion` is the highest
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
from kaiwa.defend.defence import BlockDecision
from kaiwa.defend.fold import fold
from kaiwa.defend.known import KNOWN
from kaiwa.defend.turns import Turns, data_of, language_of

GRAM = 4  # characters of Latin text and of hiragana; of other Japanese, whose characters say more, 2
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

    threshold: float = 0.6  # what it costs and stops here and at other values: docs/defend.md
    file: str = ""
    reply: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise UserError(f"similarity: threshold is {self.threshold}; give more than 0 and at most 1")
        build_index(self.file)  # UserError now for a bad file

    def check(self, turns: Turns) -> BlockDecision | None:
        """Check all untrusted stretches as one text, so that a sentence split over turns is whole."""
        value = self.suspicion("\n".join(data_of(turns)))
        if value <= self.threshold:
            return None
        reason = f"similarity: {value:.2f} of a known attack, {self.threshold:.2f} is the limit"
        return BlockDecision(reason=reason, reply=self.reply or words.REFUSED[language_of(turns)])

    def suspicion(self, text: str, language: str = "en") -> float:
        """Return the highest share. UserError for a text that is too long."""
        if len(text) > MOST:
            raise UserError(f"similarity: a text of {len(text):,} characters; at most {MOST:,} are compared")
        known = build_index(self.file)
        overlap = int(STRETCH * max(known.lengths)) + GRAM
        return max(
            highest_share(known, version[start : start + PART + overlap])
            for version in decode_versions(text)
            for start in range(0, max(1, len(version)), PART)
        )


@dataclass(frozen=True, slots=True)
class SentenceIndex:
    """The known sentences. sentences: by n-gram, where contained. sizes: n-grams of each. lengths: characters of
    each.
    """

    sentences: dict[str, tuple[int, ...]]
    sizes: tuple[int, ...]
    lengths: tuple[int, ...]


@lru_cache(maxsize=16)
def build_index(file: str = "") -> SentenceIndex:
    """Build the index of our sentences and a file's. UserError for an unreadable file or a too short line."""
    sentences: defaultdict[str, list[int]] = defaultdict(list)
    sizes: list[int] = []
    lengths: list[int] = []
    for sentence in (*KNOWN, *_lines(file)):
        folded = fold(sentence)
        ngrams = set(split_ngrams(folded))
        if len(ngrams) < FEWEST:
            raise UserError(f"{file}: {sentence!r} is too short to be told from other text; write the whole sentence")
        for ngram in ngrams:
            sentences[ngram].append(len(sizes))
        sizes.append(len(ngrams))
        lengths.append(len(folded))
    by_ngram = {ngram: tuple(numbers) for ngram, numbers in sentences.items()}
    return SentenceIndex(by_ngram, tuple(sizes), tuple(lengths))


def _lines(file: str) -> list[str]:
    if not file:
        return []
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"similarity: {file} cannot be read ({error}); give a text file, one sentence a line") from None
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def split_ngrams(folded: str) -> list[str]:
    """Return the n-gram that begins at each character: GRAM characters of Latin text or of hiragana, else 2.

    Hiragana are endings that stand in every sentence (してください), so that two of them say nothing.
    """
    grams: list[str] = []
    for i, c in enumerate(folded[:-1]):
        long = c.isascii() or ("ぁ" <= c <= "ゖ" and "ぁ" <= folded[i + 1] <= "ゖ")
        grams.append(folded[i : i + (GRAM if long else 2)])
    return grams


def highest_share(known: SentenceIndex, folded: str) -> float:
    """Return the highest share of a sentence's n-grams that is within STRETCH times the sentence's length."""
    hits: defaultdict[int, list[tuple[int, str]]] = defaultdict(list)
    for position, ngram in enumerate(split_ngrams(folded)):
        for sentence in known.sentences.get(ngram, ()):
            hits[sentence].append((position, ngram))
    best = 0.0
    for sentence, positions in hits.items():
        if len(positions) > best * known.sizes[sentence]:
            most = _most_distinct(positions, int(STRETCH * known.lengths[sentence]))
            best = max(best, most / known.sizes[sentence])
    return best


def _most_distinct(positions: list[tuple[int, str]], width: int) -> int:
    """Return the largest number of different n-grams within `width` characters of each other."""
    counts: dict[str, int] = {}
    first = most = 0
    for position, ngram in positions:
        counts[ngram] = counts.get(ngram, 0) + 1
        while position - positions[first][0] >= width:
            oldest = positions[first][1]
            first += 1
            counts[oldest] -= 1
            if not counts[oldest]:
                del counts[oldest]
        most = max(most, len(counts))
    return most


def decode_versions(text: str) -> list[str]:
    """Return the folded text unchanged, reversed, in rot13, with letters for digits, and the text of its base64."""
    folded = fold(text)
    versions = [folded, folded[::-1], codecs.encode(folded, "rot13")]
    if any(c.isdigit() for c in folded):
        versions.append(folded.translate(LEET))
    for blob in BASE64.findall(text):
        try:
            versions.append(fold(base64.b64decode(blob[: len(blob) // 4 * 4]).decode()))
        except (binascii.Error, UnicodeDecodeError):
            continue
    return versions
