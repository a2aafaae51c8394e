"""Heuristic filters. Each takes one document and returns the reason to drop the document, or None.

Prose: Gopher (Rae et al. 2021, appendix A.1.1) for words, symbols, repetition and stop words. Japanese, which has no
spaces, has its own length limits and must contain kana. Code: Codex (Chen et al. 2021, section 3.1) for line lengths
and letters. Departure: the length limits are far lower, since our documents are notes and diary entries, not web pages.

To add a filter, write a function with the same signature and put it into the tuple PROSE or CODE.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from kaiwa.corpus.config import Filters
from kaiwa.corpus.language import KANA

Filter = Callable[[str, str, Filters], str | None]  # (text, language, limits) -> reason or None
NO_SPACES = frozenset({"ja", "zh", "th"})
STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with", "is", "are", "was", "in", "it", "for"})
WORD = re.compile(r"\w+")
SPACE = re.compile(r"\s+")
LONG_ENOUGH = 50  # words; shorter texts need no stop words


def too_short(text: str, language: str, limits: Filters) -> str | None:
    """Return a reason to drop texts that are too short."""
    least = limits.min_chars_ja if language in NO_SPACES else limits.min_chars
    return "too_short" if len(text) < least else None


def too_long(text: str, language: str, limits: Filters) -> str | None:
    """Return a reason to drop texts that are too long."""
    return "too_long" if len(text) > limits.max_chars else None


def symbols(text: str, language: str, limits: Filters) -> str | None:
    """Return a reason to drop texts with too many characters that are neither letters, digits nor spaces."""
    dense = SPACE.sub("", text)
    ratio = 1 - sum(map(str.isalnum, dense)) / max(1, len(dense))
    return "symbols" if ratio > limits.max_symbol_ratio else None


def word_length(text: str, language: str, limits: Filters) -> str | None:
    """Return a reason to drop texts whose mean word is too short or too long: tables of numbers, base64, addresses."""
    if language in NO_SPACES:
        return None
    words = text.split()
    mean = sum(map(len, words)) / max(1, len(words))
    low, high = limits.mean_word
    return None if low <= mean <= high else "word_length"


def stop_words(text: str, language: str, limits: Filters) -> str | None:
    """Return a reason to drop English prose of at least 50 words that lacks two of the commonest words."""
    if language != "en":
        return None
    words = WORD.findall(text.lower())
    if len(words) < LONG_ENOUGH:
        return None
    return "stop_words" if len(STOP_WORDS & set(words)) < limits.min_stop_words else None


def kana(text: str, language: str, limits: Filters) -> str | None:
    """Return a reason to drop Japanese prose without kana, such as a list of kanji names or a Chinese page."""
    if language != "ja":
        return None
    letters = sum(map(str.isalpha, text))
    return "kana" if len(KANA.findall(text)) < limits.min_kana_ratio * max(1, letters) else None


def repeated_lines(text: str, language: str, limits: Filters) -> str | None:
    """Return a reason to drop texts with too large a share of characters in repeated lines."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) < 4:
        return None
    earlier: set[str] = set()
    repeated = 0
    for line in lines:
        repeated += len(line) if line in earlier else 0
        earlier.add(line)
    return "repeated_lines" if repeated > limits.max_repeated_lines * sum(map(len, lines)) else None


def repeated_ngrams(text: str, language: str, limits: Filters) -> str | None:
    """Return a reason to drop texts in which the commonest n-gram has too large a share of the characters.

    An n-gram is 4 words, or 8 characters in languages without spaces.
    """
    if language in NO_SPACES:
        dense = SPACE.sub("", text)
        if len(dense) < 80:
            return None
        grams = Counter(dense[i : i + 8] for i in range(0, len(dense) - 7))
        gram, n = max(grams.items(), key=lambda item: item[1])
        share = n * len(gram) / len(dense)
    else:
        words = text.lower().split()
        if len(words) < 20:
            return None
        counts = Counter(zip(words, words[1:], words[2:], words[3:], strict=False))
        words4, n = max(counts.items(), key=lambda item: item[1])
        share = n * sum(map(len, words4)) / sum(map(len, words))
    return "repeated_ngrams" if n > 2 and share > limits.max_repeated_ngrams else None


def code_lines(text: str, language: str, limits: Filters) -> str | None:
    """Return a reason to drop generated or minified code: a very long line, or long lines on average."""
    lengths = [len(line) for line in text.splitlines()] or [0]
    if max(lengths) > limits.max_code_line:
        return "code_line_length"
    return "code_line_length" if sum(lengths) / len(lengths) > limits.max_code_mean_line else None


def code_letters(text: str, language: str, limits: Filters) -> str | None:
    """Return a reason to drop tables of data written as code."""
    return "code_letters" if sum(map(str.isalnum, text)) < limits.min_code_alnum * max(1, len(text)) else None


PROSE: tuple[Filter, ...] = (
    too_short,
    too_long,
    symbols,
    word_length,
    kana,
    stop_words,
    repeated_lines,
    repeated_ngrams,
)
CODE: tuple[Filter, ...] = (too_short, too_long, code_lines, code_letters)


def reason_to_drop(text: str, language: str, kind: str, limits: Filters) -> str | None:
    """Return the first reason from the filters of a kind ("prose" or "code"), or None to keep the document."""
    for check in CODE if kind == "code" else PROSE:
        reason = check(text, language, limits)
        if reason is not None:
            return reason
    return None
