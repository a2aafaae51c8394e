r"""Numbers in replies, English and Japanese: 1,234 · 1{,}234 · $5 · .5 · 1e3 · 3.2 × 10^4 · 1/2 · 5 1/2 · \frac{1}{2} ·
2.5 million · fourteen · 3万 · 2億3000万 · 二十三 · 2分の1 · マイナス5.

Which number is the answer is decided by one rule, `find_number`: what the text states first, at its beginning; an
equation's right side; what is emphasised; the last number of the conclusion. A number that is denied ("not 5",
5ではなく) is never the answer.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

MOST = 1e18  # of a number in words
DIGITS = {c: i for i, c in enumerate("〇一二三四五六七八九")} | {"零": 0}
UNITS = {"十": 10, "百": 100, "千": 1000}
GROUPS = {"万": 10**4, "億": 10**8, "兆": 10**12, "京": 10**16}
SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
)
SMALL = {w: i for i, w in enumerate([*_ONES.split(), "eighteen", "nineteen"])}
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
TENS = {w: 10 * i for i, w in enumerate(_TENS.split(), 2)}

_DIGITS = (
    r"(?:\d{1,3}(?:\.\d{3})+,\d{1,2}(?!\d)|\d{1,3}(?:(?: 000)+|(?: \d{3}){2,})(?!\d)"
    r"|\d{1,3}(?:\.\d{3}){2,}(?![\d.])|\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?"
    r"|\d{1,2}(?:,\d{2})+,\d{3}(?!\d)|\d+(?:\.\d+)?|\.\d+)"
)
_KANJI = "〇零一二三四五六七八九十百千万億兆京"
_SIGN = r"(?:(?<![\d)\]}%]\s)(?<![\d)\]}%A-Za-z])[-+](?=[\d.$€£¥\\U])|マイナス\s?|(?<![\d)]\s)(?:minus|negative)\s+)?"
_MONEY = r"(?:(?:US|A|C)?[$€£¥]\s?)?"
NUMBER = re.compile(
    rf"(?<![A-Za-z0-9.^])(?P<sign>{_SIGN})(?P<money>{_MONEY})(?:"
    rf"\\[dt]?frac\s*\{{\s*(?P<top>-?[\d.]+)\s*\}}\s*\{{\s*(?P<bottom>[\d.]+)\s*\}}"
    rf"|(?P<denominator>{_DIGITS}|[{_KANJI}]+)分の(?P<numerator>{_DIGITS}|[{_KANJI}]+)"
    rf"|(?P<mixed>\d+)\s+(?P<over>\d+)\s?/\s?(?P<under>\d+)(?![\d/])"
    rf"|(?P<ja>{_DIGITS}(?:[十百千万億兆京]+(?:{_DIGITS}|[{_KANJI}])*)+)"
    rf"|(?P<plain>{_DIGITS})(?:\s?/\s?(?P<per>{_DIGITS})(?![\d/]))?"
    r"(?:[eE](?P<e>[-+]?\d{1,3})(?![\d\w])"
    r"|\s?(?:×|x|\*|\\times|·|\\cdot)\s?10\s?(?:\^|\*\*)\s?\{?(?P<power>[-+]?\d{1,3})\}?"
    r"|\s?\^\s?\{?(?P<raised>[-+]?\d{1,2})\}?(?!\d))?"
    r"(?:[\s-]?(?P<scale>hundred|thousand|million|billion|trillion)\b|(?P<k>k)(?![A-Za-z])|(?P<wari>割)(?![らりるれろっ引合]))?"
    rf"|(?P<kanji>[{_KANJI}]+))",
    re.IGNORECASE,
)
_WORD = "|".join(sorted({*SMALL, *TENS, *SCALES}, key=len, reverse=True))
_RUN = rf"(?:{_WORD})(?:(?:[\s-]+and[\s-]+|[\s-]+)(?:{_WORD}))*"
WORDS = re.compile(
    rf"\b(?P<sign>(?:minus|negative)\s+)?(?P<words>(?:a\s+)?{_RUN})(?:\s+point\s+(?P<decimals>{_RUN}))?\b",
    re.IGNORECASE,
)
CENTS = re.compile(r"\s*dollars?\s+and\s+(\d{1,2})\s*cents?\b", re.IGNORECASE)
NO_KANJI = re.compile(
    r"一(?:方|般|緒|部|番|致|定|見|旦|応|気|概|連|切|律|層|段|斉|生|員|体|瞬|時|覧|種|度)|十分|万一|千葉|三角|四角|一つ一つ"
)
NEAR = 60  # characters before a number in which a word belongs to it
DENIED_BEFORE = re.compile(
    r"(?:\bnot|n['’]t|\brather\s+than|\binstead\s+of|\bnever|≠|!=)(?:\s+(?:be|equal(?:\s+to)?|exactly|just|only))?\s*[$€£¥]?\s*\Z",
    re.I,
)
DENIED_AFTER = re.compile(
    r"[,.?…\s]+(?:no|wait|sorry|i\s+mean)\b(?=\W)|[、…]+いや|\s*[^\s、。,.\d]{0,3}?(?:では(?:な|あり)|じゃ(?:な|あり)|でな)",
    re.I,
)
CHAIN = re.compile(r"\s*(?:[a-z%円個人]{0,6}\s*)?[-+*/×÷xX^=≈(]\s*[\d$(.]")
RESULT = re.compile(
    r"(?:=|≈|\bequals\b|\bwhich\s+is\b|\bmakes\b|\bgives\b|\btotal(?:s|\s+is|\s+of)\b|\bis\s+equal\s+to\b)\s*\W{0,3}\Z",
    re.I,
)
VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|had|costs?|be|left\s+with)\s+(?:only\s+|about\s+|a\s+total\s+of\s+)?\W{0,3}\Z", re.I
)
CONCLUSION = re.compile(
    r"\s*(?:(?:so|thus|hence|therefore|in\s+total|altogether|finally|in\s+conclusion)\b|(?:よって|したがって|従って|ゆえに|つまり|だから|合計|結局|全部で))",
    re.I,
)
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[^\d\s])|(?<=[。！？!?])|\n+")
BOLD = re.compile(r"\*\*(.+?)\*\*|__(.+?)__")


@dataclass(frozen=True, slots=True)
class NumberMention:
    """A number of a text, where it stands, and whether it is written out in words or kanji."""

    value: float
    start: int
    end: int
    spelt: bool = False


def parse_kanji_number(text: str) -> int | None:
    """Parse 二十三 -> 23, 千二百 -> 1200, 三万五千 -> 35000, 二〇二四 -> 2024; None for text that is not a number."""
    value = _parse_japanese(text) if text and not re.search(r"[\d.,]", text) else None
    return None if value is None else int(value)


def _parse_japanese(text: str) -> float | None:
    """Parse digits and kanji mixed, such as 2億3000万, 3万5千, 1.5万."""
    tokens = re.findall(rf"{_DIGITS}|[{_KANJI}]", text)
    if "".join(tokens) != text or not tokens:
        return None
    if all(t in DIGITS for t in tokens):
        return float(int("".join(str(DIGITS[t]) for t in tokens)))
    total, part, digit = 0.0, 0.0, -1.0
    last_group = 10**20
    for token in tokens:
        if token in UNITS:
            part += (1 if digit < 0 else digit) * UNITS[token]
            digit = -1
        elif token in GROUPS:
            if GROUPS[token] >= last_group:
                return None
            part += max(digit, 0)
            total += (part or 1) * GROUPS[token]
            part, digit, last_group = 0.0, -1.0, GROUPS[token]
        elif digit >= 0:
            return None
        else:
            digit = float(DIGITS[token]) if token in DIGITS else _decimal(token)
    return total + part + max(digit, 0)


def _decimal(digits: str) -> float:
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+,\d{1,2}", digits):
        return float(digits.replace(".", "").replace(",", "."))
    if re.fullmatch(r"\d{1,3}(?:\.\d{3}){2,}", digits):
        return float(digits.replace(".", ""))
    return float(digits.replace(",", "").replace(" ", ""))


def _value(match: re.Match[str]) -> float | None:
    """Return a match's value; None for kanji that are no number and for a fraction over 0."""
    try:
        if match["top"]:
            value = float(match["top"]) / float(match["bottom"])
        elif match["numerator"]:
            top, bottom = _parse_japanese(match["numerator"]), _parse_japanese(match["denominator"])
            if top is None or bottom is None:
                return None
            value = top / bottom
        elif match["mixed"]:
            value = int(match["mixed"]) + int(match["over"]) / int(match["under"])
        elif match["ja"] or match["kanji"]:
            parsed = _parse_japanese(match["ja"] or match["kanji"])
            if parsed is None:
                return None
            value = parsed
        else:
            value = _decimal(match["plain"])
            value = value / _decimal(match["per"]) if match["per"] else value
            value = value * 10.0 ** int(match["e"] or match["power"] or 0)
            value = value ** int(match["raised"]) if match["raised"] else value
            value *= (
                SCALES[match["scale"].lower()] if match["scale"] else 1000 if match["k"] else 10 if match["wari"] else 1
            )
    except (ZeroDivisionError, OverflowError, ValueError):
        return None
    if not isinstance(value, int | float) or not math.isfinite(value):  # a negative base's power may be complex
        return None
    negative = bool(re.search(r"-|マイナス|minus|negative", match["sign"] or "", re.I))
    return -value if negative else value


def _words_value(words: str) -> float:
    total, part = 0.0, 0.0
    for word in re.split(r"[\s-]+", words.lower()):
        if word in ("and", "a"):
            part = part or (1.0 if word == "a" else 0.0)
        elif word in SMALL or word in TENS:
            part += SMALL.get(word, TENS.get(word, 0))
        elif word == "hundred":
            part = (part or 1) * 100
        else:
            total, part = total + (part or 1) * SCALES[word], 0.0
        if max(total, part) > MOST:
            return math.inf
    return total + part


def mentions(text: str) -> list[NumberMention]:
    """Return the numbers of a text in order; those in words and kanji only where there are no digits."""
    text = re.sub(r"(?<=\d)(?:\{,\}|\\,)(?=\d{3})", ",", text)
    digits: list[NumberMention] = []
    kanji: list[NumberMention] = []
    for match in NUMBER.finditer(text):
        if match["kanji"] and NO_KANJI.match(text, match.start("kanji")):
            continue
        value = _value(match)
        if value is None:
            continue
        end = match.end()
        if cents := CENTS.match(text, end):
            value, end = value + int(cents[1]) / 100, cents.end()
        (kanji if match["kanji"] else digits).append(NumberMention(value, match.start(), end, bool(match["kanji"])))
    if digits:
        return digits
    return kanji or _spelt_mentions(text)


def _spelt_mentions(text: str) -> list[NumberMention]:
    """Return numbers in English words; a lone "one" is a pronoun, unless it is the whole text."""
    spelt = []
    for match in WORDS.finditer(text):
        if match["words"].lower() == "one" and text.strip(" .*").lower() != "one":
            continue
        value = _words_value(match["words"])
        if not math.isfinite(value):
            continue
        if match["decimals"] and _words_value(match["decimals"]) < 100**9:
            parts = [_words_value(word) for word in re.split(r"[\s-]+", match["decimals"])]
            digits = parts if all(p < 10 for p in parts) else [_words_value(match["decimals"])]
            value += float("0." + "".join(str(int(p)) for p in digits))
        spelt.append(NumberMention(-value if match["sign"] else value, match.start(), match.end(), True))
    return spelt


def _allowed(text: str, numbers: list[NumberMention]) -> list[NumberMention]:
    return [
        n
        for n in numbers
        if not DENIED_BEFORE.search(text[max(0, n.start - NEAR) : n.start]) and not DENIED_AFTER.match(text, n.end)
    ]


def find_number(text: str, stated: bool = False, cut: bool = False) -> str | None:
    """Find the number that a text gives as its answer, as plain digits; None where there is none.

    stated: the text follows a mark, and what stands first is the answer; else it must stand at the beginning and end
    its clause there, or the conclusion is read, which a text that was cut has not.
    """
    text = re.sub(r"(?<=\d)(?:\{,\}|\\,)(?=\d{3})", ",", text)
    text = re.sub(r"(?<![ァ-ヶー])ゼロ(?![ァ-ヶー])", "〇", text)
    numbers = _allowed(text, mentions(text))
    if not numbers:
        return None
    first = numbers[0]
    if stated or _leads(text, first):
        return write_number(_end_of_equation(text, numbers, 0).value)
    return None if cut else write_number(_conclusion(text).value)


def _leads(text: str, first: NumberMention) -> bool:
    """Return whether a reply begins with its answer: a number that ends its clause, with at most two words of unit."""
    before, after = text[: first.start], text[first.end :]
    if re.search(r"[A-Za-z0-9]", re.sub(r"(?i)\b(?:it|that|this)\s+is|about|approximately|around|約", "", before)):
        return False
    if re.search(r"[぀-ヿ一-鿿]", re.sub(r"約|およそ|マイナス", "", before)):
        return False
    if re.match(r"[.)]\s", after) and re.search(r"\n\s*2[.)]\s", after):
        return False  # a numbered list
    if any(CONCLUSION.match(sentence) and mentions(sentence) for sentence in SENTENCE.split(text)[1:]):
        return False
    unit = r"(?:\s*[*_`%)\]}\\$°℃]*\s*(?:[A-Za-z°/²^]+\s*){0,2}|[^\s\d、。,.]{1,6})"
    return re.match(rf"{unit}(?:\\?[)\]]|[*_`$\"'」』])*\s*(?:[.!。、,;]|\n|\Z)", after) is not None


def _end_of_equation(text: str, numbers: list[NumberMention], i: int) -> NumberMention:
    """Return the right side of the equation that begins at numbers[i], or the number itself."""
    last = numbers[i]
    for j in range(i + 1, len(numbers)):
        between = text[numbers[j - 1].end : numbers[j].start]
        if not re.fullmatch(r"[^.\n。;]*?[-+*/×÷xX^=≈()$\s]+|\s*(?:[A-Za-z]+\s*){0,2}[-+*/×÷xX=]\s*\W*", between):
            break
        if not re.search(r"[-+*/×÷xX=≈]", between):
            break
        if re.search(r"[=≈]", between):
            last = numbers[j]
    if last is numbers[i]:
        sentence = re.compile(r"[.。\n]\s").search(text, last.end)
        for number in numbers[i + 1 :]:
            if sentence is not None and number.start >= sentence.end():
                break
            if RESULT.search(text[max(0, number.start - NEAR) : number.start]) and not re.match(
                r"\s*[-+*/×÷]\s*[\d(]", text[number.end :]
            ):
                return number
    return last


def _conclusion(text: str) -> NumberMention:
    """Return the number of the last sentence that has one: after "=", emphasised, or the last."""
    for sentence in reversed(SENTENCE.split(text)):
        numbers = _allowed(sentence, mentions(sentence))
        if not numbers:
            continue
        bold = [n for match in BOLD.finditer(sentence) for n in mentions(match[1] or match[2])]
        if bold:
            return bold[-1]
        results = [n for n in numbers if RESULT.search(sentence[max(0, n.start - NEAR) : n.start])]
        whole = [n for n in results if not CHAIN.match(sentence, n.end)]
        stated = [n for n in numbers if VERB.search(sentence[max(0, n.start - NEAR) : n.start])]
        return whole[-1] if whole else stated[0] if len(stated) == 1 else numbers[-1]
    return _allowed(text, mentions(text))[-1]


def write_number(value: float) -> str:
    """Write equal numbers as equal text: 12.50 as "12.5", 7.0 as "7"."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
