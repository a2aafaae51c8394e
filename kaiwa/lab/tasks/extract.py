"""The one extractor: what an answer says, by the kind of answer that the task wants, the same for every arm.

Where the text marks its answer ("The answer is", "Answer:", 答えは, 答え:), what follows the last mark counts; else

    number   the last number in the text         (NFKC; full-width and kanji numerals; 1,234)
    choice   the last choice that it names
    word     the last line

A harness that takes the first number for one arm and the last for another measures itself. None: no valid answer.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence

KINDS = ("number", "choice", "word", "json", "lines", "text", "code")
MARK = re.compile(
    r"(?:the\s+)?(?:final\s+)?answer(?:\s+\([^)]*\))?\s*(?:is|:|=)|(?:したがって、?)?(?:最終的な)?(?:答え|こたえ|回答|正解)(?:\([^)]*\))?\s*(?:は|:|=)",
    re.IGNORECASE,
)
NUMBER = re.compile(r"(?<![\w.])[-−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?", re.ASCII)
KANJI = re.compile(r"[〇零一二三四五六七八九十百千万億]+")
DIGITS = {c: i for i, c in enumerate("〇一二三四五六七八九")} | {"零": 0}
UNITS = {"十": 10, "百": 100, "千": 1000}
GROUPS = {"万": 10_000, "億": 100_000_000}
EMPTY_FENCE = re.compile(r"```[\w+-]*\s*(?=```)")
FENCE = re.compile(r"```[\w+-]*\n(.*?)(?:```|\Z)", re.DOTALL)


def extract(kind: str, text: str, choices: Sequence[str] = ()) -> str | None:
    """The answer as plain text; numbers without separators ("1234"), choices as they are spelt in `choices`."""
    if kind == "text":
        return text.strip() or None
    if kind == "code":
        return code(text)
    if kind == "json":
        return first_json(text)
    if kind == "lines":
        found = [line for line in text.strip().splitlines() if line.strip()]
        return "\n".join(found) or None
    plain = unicodedata.normalize("NFKC", text)
    marks = list(MARK.finditer(plain))
    after = plain[marks[-1].end() :] if marks else None
    if kind == "number":
        return number(after, first=True) if after is not None else number(plain)
    if kind == "choice":
        return choice(plain if after is None else after, choices, first=after is not None)
    rest = (after if after is not None else plain).strip()
    lines = [line.strip() for line in rest.splitlines() if line.strip()]
    if not lines:
        return None
    line = lines[0 if after is not None else -1].rstrip(" .。")
    return re.sub("(?:です|でした|になります)$", "", line).strip(" .。\"'「」*`") or None


def number(text: str, first: bool = False) -> str | None:
    """The last number (or the first): Arabic digits where there are any, else kanji."""
    found = NUMBER.findall(text)
    if found:
        return _plain((found[0] if first else found[-1]).replace(",", "").replace("−", "-"))
    written = [w for w in KANJI.findall(text) if (value := kanji_number(w)) is not None or value == 0]
    if not written:
        return None
    return str(kanji_number(written[0] if first else written[-1]))


def _plain(digits: str) -> str:
    """ "12.50" -> "12.5", "007" -> "7": equal numbers are equal text."""
    value = float(digits)
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def kanji_number(text: str) -> int | None:
    """二十三 -> 23, 千二百 -> 1200, 三万五千 -> 35000, 二〇二四 -> 2024; None for what is no number."""
    if not text:
        return None
    if all(c in DIGITS for c in text):
        return int("".join(str(DIGITS[c]) for c in text))
    total, part, digit = 0, 0, -1
    for c in text:
        if c in DIGITS:
            if digit >= 0:
                return None
            digit = DIGITS[c]
        elif c in UNITS:
            part += (1 if digit < 0 else digit) * UNITS[c]
            digit = -1
        elif c in GROUPS:
            part += max(digit, 0)
            total += (part or 1) * GROUPS[c]
            part, digit = 0, -1
        else:
            return None
    return total + part + max(digit, 0)


def choice(text: str, choices: Sequence[str], first: bool = False) -> str | None:
    """The choice that is named last (or first). A longer name hides a shorter one within it."""
    low = unicodedata.normalize("NFKC", text).lower()
    found: list[tuple[int, int, str]] = []
    for name in choices:
        wanted = unicodedata.normalize("NFKC", name).lower()
        bound = r"(?<![a-z0-9])" + re.escape(wanted) + r"(?![a-z0-9])" if wanted.isascii() else re.escape(wanted)
        found += [(m.start(), -len(wanted), name) for m in re.finditer(bound, low)]
    whole = [f for f in found if not any(o[0] <= f[0] and f[0] - f[1] <= o[0] - o[1] and o[1] < f[1] for o in found)]
    if not whole:
        letter = re.match(r"\s*([A-Z])(?![A-Za-z])", text)  # "B." for "(B)"
        return f"({letter[1]})" if letter and f"({letter[1]})" in choices else None
    return (min(whole) if first else max(whole, key=lambda f: f[0]))[2]


def first_json(text: str) -> str | None:
    """The first JSON object or list in the text, as it is written; None where none can be read."""
    decoder = json.JSONDecoder()
    for found in re.finditer(r"[{\[]", text):
        try:
            _, end = decoder.raw_decode(text, found.start())
        except (ValueError, RecursionError):
            continue
        return text[found.start() : end]
    return None


def code(text: str) -> str | None:
    """What stands in the first fence that holds something, else the whole text."""
    for fenced in FENCE.finditer(EMPTY_FENCE.sub("", text)):
        if fenced[1].strip():
            return fenced[1].strip("\n")
    return text.replace("```", "").strip("\n") or None
