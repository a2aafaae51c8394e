"""Letters given one at a time or by name: initials, numbered lists, quoted letters, spelling alphabets, a = 1, kana.

Every function returns the characters that a text spells if it is read in that way, folded or about to be. Prose spells
nonsense in each of these ways, so a secret must have LETTERS signs or more to be looked for in them (readings.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from kaiwa.defend.alphabets import CODE_WORDS, CODE_WORDS_KANA, DIGIT_WORDS, LETTER_NAMES, to_hiragana, to_one_romaji
from kaiwa.defend.fold import fold

WORD = re.compile(r"[^\W_]+")
NUMBER_OF_LIST = re.compile(r"(?<![^\W_])\d{1,3}\s?[.):：．、）\]](?!\d)")
FRONT = re.compile(r"^[\s>*+#-]*(?:\d{1,3}[.):])?\W*")
SENTENCE = re.compile(r"(?<=[.!?。！？\n])\s*")
QUOTED = re.compile(r"[\"'`*_「『“‘(（\[【]{1,3}([^\W_])[\"'`*_」』”’)）\]】]{1,3}")
ALONE = re.compile(r"(?<![^\W_])([^\W_])(?![^\W_])(?!\s+[^\W_]{2}|'[a-z])")
NAMED = re.compile(r"(?:letter|character|digit|is|は|文字目?は?|then|next)[\s:\"'「*`]{1,4}([^\W_])(?![^\W_])", re.I)
CAPITAL = re.compile(r"(?<![^\W_])([A-Z0-9])(?![^\W_])")
AFTER_NO = re.compile(r"の「?([ぁ-ゖァ-ヶ])(?![ぁ-ゖァ-ヶー])")
NUMBER = re.compile(r"\d+")
LEET = str.maketrans("01345789$@!|+l", "oieastbgsaiiti")
NUMBERS = 0xA000  # a number as one letter: of the Yi script, which nothing else here touches
KATAKANA_WORD = re.compile(r"[ァ-ヶー]+")


def spelt(text: str) -> Iterator[str]:
    """Yield what the words, lines and sentences of a text spell."""
    tokens = WORD.findall(text)
    single = [token for token in tokens if len(token) == 1]
    if len(single) > 3:
        yield "".join(single)
        for pattern in (ALONE, QUOTED, NAMED, CAPITAL):
            yield "".join(pattern.findall(text))
    yield "".join(token for token in tokens if len(token) <= 2)
    yield "".join(map(_initial, tokens))
    yield "".join(token if token.isdigit() else token[-1] for token in tokens)
    lines = [FRONT.sub("", line) for line in text.splitlines()]
    for units in (lines, SENTENCE.split(text)):
        words = [pieces for unit in units if (pieces := WORD.findall(unit))]
        yield "".join(_initial(pieces[0]) for pieces in words)
        yield "".join(pieces[-1] if pieces[-1].isdigit() else pieces[-1][-1] for pieces in words)
    yield "".join(AFTER_NO.findall(text))


def _initial(token: str) -> str:
    """Return a word's first letter; a number stands for itself."""
    return token if token.isdigit() else token[0]


def unnumbered(text: str) -> Iterator[str]:
    """Yield the text without the numbers of a list, and without all digits."""
    if NUMBER.search(text):
        yield NUMBER_OF_LIST.sub(" ", text)
        yield NUMBER.sub("", text)


def named(text: str) -> Iterator[str]:
    """Yield the text with names of letters and digits as letters and digits: NATO's, ビー, four, 四, よん."""
    tokens = [token.casefold() for token in WORD.findall(text)]
    signs = [CODE_WORDS.get(token) or DIGIT_WORDS.get(token) for token in tokens]
    if any(signs):
        yield " ".join(sign or token for sign, token in zip(signs, tokens, strict=True))
        yield "".join(sign or (token if len(token) == 1 else "") for sign, token in zip(signs, tokens, strict=True))
    if not text.isascii():
        hiragana = to_hiragana(text.translate(KANJI))
        yield hiragana
        if names_in_kana().search(hiragana):
            yield names_in_kana().sub(lambda match: KANA_NAMES[match[0]], hiragana)
        yield digits_in_kana().sub(lambda match: KANA_DIGITS[match[0]], hiragana)


KANJI = str.maketrans("〇零一二三四五六七八九壱弐参", "00123456789123")
KANA_NAMES = {to_hiragana(name): letter for name, letter in (CODE_WORDS_KANA | LETTER_NAMES).items()}
KANA_DIGITS = {to_hiragana(name): digit for name, digit in DIGIT_WORDS.items() if not name.isascii()}
KANA_NAMES |= {name: digit for name, digit in KANA_DIGITS.items() if len(name) > 1}


@cache
def names_in_kana() -> re.Pattern[str]:
    return re.compile("|".join(sorted(map(re.escape, KANA_NAMES), key=len, reverse=True)))


@cache
def digits_in_kana() -> re.Pattern[str]:
    return re.compile("|".join(sorted(map(re.escape, KANA_DIGITS), key=len, reverse=True)))


def romaji(text: str) -> Iterator[str]:
    """Yield kana in Latin letters, in the one spelling of the secret's own form; the digits' names as digits too."""
    if text.isascii():
        yield to_one_romaji(text)
        return
    text = text.translate(KANJI)
    yield to_one_romaji(text)
    yield to_one_romaji(digits_in_kana().sub(lambda match: KANA_DIGITS[match[0]], to_hiragana(text)))


def leet(text: str) -> Iterator[str]:
    yield fold_leet(text)


def fold_leet(text: str) -> str:
    """Return folded text in which digits and signs that look like letters are those letters, and l is i."""
    return fold(fold(text.translate(LEET)).translate(LEET))


def numbered(text: str) -> Iterator[str]:
    """Yield the numbers of a text, each as one character: a = 1."""
    numbers = NUMBER.findall(text)
    if len(numbers) > 5:
        yield "".join(chr(NUMBERS + int(number)) for number in numbers if len(number) < 4)


def every_nth(text: str) -> Iterator[str]:
    """Yield every second and every third letter: others may stand between."""
    folded = fold(text)
    if len(folded) < 16:
        return
    for step in (2, 3):
        yield from (folded[first::step] for first in range(step))


def turned_words(text: str) -> Iterator[str]:
    yield " ".join(token[::-1] for token in WORD.findall(text))
