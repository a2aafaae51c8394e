"""The extractor of an answer's content, by the kind of answer that the task asks for, the same for every arm.

Where the text marks its answer ("The answer is", "Answer:", 答えは, 答え:), the text after the last mark counts; else

    number   the last number in the text         (NFKC; full-width and kanji numerals; 1,234)
    choice   the last choice that the text names
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
    r"(?:the\s+)?(?:final\s+)?answer(?:\s+\([^)]*\))?\s*(?:is\s*:?|:|=)|(?:したがって、?)?(?:最終的な)?(?:答え|こたえ|回答|正解)(?:\([^)]*\))?\s*(?:は\s*:?|:|=)",
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
    """Extract the answer as plain text: numbers without separators ("1234"), choices as spelt in `choices`."""
    if kind == "text":
        return text.strip() or None
    if kind == "code":
        return find_code(text)
    if kind == "json":
        return find_json(text)
    if kind == "lines":
        lines = [line for line in text.strip().splitlines() if line.strip()]
        return "\n".join(lines) or None
    plain = unicodedata.normalize("NFKC", text)
    marks = list(MARK.finditer(plain))
    after = plain[marks[-1].end() :] if marks else None
    if kind == "number":
        return find_number(after, first=True) if after is not None else find_number(plain)
    if kind == "choice":
        return find_choice(plain if after is None else after, choices, first=after is not None)
    rest = (after if after is not None else plain).strip()
    lines = [line.strip() for line in rest.splitlines() if line.strip()]
    if not lines:
        return None
    line = lines[0 if after is not None else -1].rstrip(" .。")
    return re.sub("(?:です|でした|になります)$", "", line).strip(" .。\"'「」*`") or None


def find_number(text: str, first: bool = False) -> str | None:
    """Find the last number (or the first): in Arabic digits where there are any, else in kanji."""
    digits = NUMBER.findall(text)
    if digits:
        return _normalise((digits[0] if first else digits[-1]).replace(",", "").replace("−", "-"))
    kanji = [w for w in KANJI.findall(text) if (value := parse_kanji_number(w)) is not None or value == 0]
    if not kanji:
        return None
    return str(parse_kanji_number(kanji[0] if first else kanji[-1]))


def _normalise(digits: str) -> str:
    """Write equal numbers as equal text: "12.50" -> "12.5", "007" -> "7"."""
    value = float(digits)
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def parse_kanji_number(text: str) -> int | None:
    """Parse 二十三 -> 23, 千二百 -> 1200, 三万五千 -> 35000, 二〇二四 -> 2024; None for text that is not a number."""
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


def find_choice(text: str, choices: Sequence[str], first: bool = False) -> str | None:
    """Find the choice that is named last (or first). A longer name hides a shorter name inside."""
    folded_text = unicodedata.normalize("NFKC", text).lower()
    matches: list[tuple[int, int, str]] = []
    for name in choices:
        folded = unicodedata.normalize("NFKC", name).lower()
        bound = r"(?<![a-z0-9])" + re.escape(folded) + r"(?![a-z0-9])" if folded.isascii() else re.escape(folded)
        matches += [(m.start(), -len(folded), name) for m in re.finditer(bound, folded_text)]
    longest = [
        f for f in matches if not any(o[0] <= f[0] and f[0] - f[1] <= o[0] - o[1] and o[1] < f[1] for o in matches)
    ]
    if not longest:
        letter = re.match(r"\s*([A-Z])(?![A-Za-z])", text)  # "B." for "(B)"
        return f"({letter[1]})" if letter and f"({letter[1]})" in choices else None
    return (min(longest) if first else max(longest, key=lambda f: f[0]))[2]


def find_json(text: str) -> str | None:
    """Find the first JSON object or list in the text, as written; None where none can be parsed."""
    decoder = json.JSONDecoder()
    for opening in re.finditer(r"[{\[]", text):
        try:
            _, end = decoder.raw_decode(text, opening.start())
        except (ValueError, RecursionError):
            continue
        return text[opening.start() : end]
    return None


def find_code(text: str) -> str | None:
    """Return the content of the first code fence that is not empty, else the whole text."""
    for fenced in FENCE.finditer(EMPTY_FENCE.sub("", text)):
        if fenced[1].strip():
            return fenced[1].strip("\n")
    return text.replace("```", "").strip("\n") or None
