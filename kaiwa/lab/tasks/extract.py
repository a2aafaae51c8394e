"""The extractor of an answer's content, by the kind of answer that the task asks for, the same for every arm.

    number   numbers.py: the stated number, else the conclusion's      choice   choices.py
    word     the stated word, else the line that is emphasised, short, or last
    json     the first value that can be parsed      code   the first code fence      lines, text   as written

What states an answer (a box, a mark, the beginning) is decided in reply_text.py before, once for all kinds. A harness
that takes the first number for one arm and the last for another measures itself. None: nothing to read, as in a refusal
or a thought that never ends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from kaiwa.lab.tasks.choices import find_choice
from kaiwa.lab.tasks.numbers import find_number
from kaiwa.lab.tasks.reply_text import read_reply, without_thoughts

KINDS = ("number", "choice", "word", "json", "lines", "text", "code")
EMPTY_FENCE = re.compile(r"```[\w+-]*\s*(?=```)")
FENCE = re.compile(r"```[\w+-]*\n(.*?)(?:```|\Z)", re.DOTALL)
EMPHASIS = re.compile(r"\*\*(.+?)\*\*|__(.+?)__|「([^」]+)」|『([^』]+)』|“([^”]+)”|\"([^\"\n]+)\"|`([^`\n]+)`")
COPULA = re.compile(r"(?:です|でした|になります|である|だ)(?:ね|よ|。|\s)*$")
ABBREVIATION = r"(?<!\bSt)(?<!\bDr)(?<!\bMr)(?<!\bMrs)(?<!\bMs)(?<!\bMt)(?<!\bNo)(?<!\bvs)(?<!\bJr)(?<!\b[A-Z])"
NEXT_SENTENCE = re.compile(rf"{ABBREVIATION}\.\s+(?=[A-Z])|。|\s+(?:because|since)\s")
EDGES = " .。,、:;!！\"'「」『』“”‘’*_`#>"
SHORT = 6  # words (or 20 characters) of a line that may be an answer alone
MOST_NESTED = 900  # levels of JSON that Python reads; a text of one opening after another takes linear time so
PLEASANTRY = re.compile(
    r"(?i)(?:sure|certainly|of\s+course|okay|ok|alright|great|well|let\s+me|here\b|もちろん|承知|わかりました|かしこまり)"
)
SPELT = re.compile(r"(?:[A-Za-z][\s,-]+)+[A-Za-z]")  # letter by letter: "n a o a"
OPENING = re.compile(r"(?i)^(?:it\s+is|it['’]s|that\s+is|that['’]s|this\s+is)\s+(?:the\s+)?")


def extract(kind: str, text: str, choices: Sequence[str] = (), cut: bool = False) -> str | None:
    """Extract the answer as plain text: numbers without separators ("1234"), choices as spelt in `choices`.

    cut: the text ended at the limit of tokens; only what states the answer is then read, and no conclusion guessed.
    """
    if kind in ("text", "lines", "code", "json"):
        return _extract_written(kind, without_thoughts(text))
    if kind == "number":
        return read_reply(text, find_number, cut)
    if kind == "choice":
        return read_reply(text, ChoiceReader(choices), cut)
    return read_reply(text, find_word, cut)


@dataclass(frozen=True, slots=True)
class ChoiceReader:
    """A reader of one item's choices."""

    choices: Sequence[str]

    def __call__(self, text: str, stated: bool = False, cut: bool = False) -> str | None:
        return find_choice(text, self.choices, stated, cut)


def _extract_written(kind: str, text: str) -> str | None:
    if kind == "text":
        return text.strip() or None
    if kind == "code":
        return find_code(text)
    if kind == "json":
        return find_json(text)
    return "\n".join(line for line in text.strip().splitlines() if line.strip()) or None


def find_word(text: str, stated: bool = False, cut: bool = False) -> str | None:
    """Find the word or short phrase that a text gives as its answer. stated: the text follows a mark. cut: its end is
    missing, and only a short first line is an answer.
    """
    lines = [line.strip() for line in text.strip().splitlines() if line.strip(EDGES + "-")]
    if len(lines) > 1 and PLEASANTRY.match(lines[0]):
        lines = lines[1:]
    if not lines:
        return None
    if cut and not stated and not _short(lines[0]):
        return None
    line = lines[0] if stated or cut or _answers_first(lines) else lines[-1]
    emphasised = [str(next(filter(None, match.groups()))) for match in EMPHASIS.finditer(line)]
    if len(emphasised) == 1 and (len(lines) == 1 or stated) and emphasised[0].strip(EDGES):
        return emphasised[0].strip(EDGES)
    line = OPENING.sub("", NEXT_SENTENCE.split(line.strip(EDGES))[0])
    word = COPULA.sub("", line.strip(EDGES)).strip(EDGES)
    return (re.sub(r"[\s,-]", "", word) if SPELT.fullmatch(word) else word) or None


def _answers_first(lines: list[str]) -> bool:
    """Return whether the first line is an answer and the others say why: a short line before longer sentences."""
    first, last = lines[0], lines[-1]
    if not _short(first) or first[-1] in "…:：":
        return False
    longer = len(last) > len(first) and last[-1] in ".。" and first[-1] not in ".。"
    return longer or not all(map(_short, lines))


def _short(line: str) -> bool:
    return len(line.split()) <= SHORT if line.isascii() else len(line) <= 20


def find_json(text: str) -> str | None:
    """Find the first JSON object or list in the text, as written; None where none can be parsed."""
    decoder = json.JSONDecoder()
    openings = [match.start() for match in re.finditer(r"[{\[]", text)]
    index = 0
    while index < len(openings):
        start = openings[index]
        try:
            _, end = decoder.raw_decode(text, start)
        except ValueError:
            index += 1
        except RecursionError:  # too deep: the openings that were read lie inside it and are tried no more
            index += MOST_NESTED
        else:
            return text[start:end]
    return None


def find_code(text: str) -> str | None:
    """Return the content of the first code fence that is not empty, else the whole text."""
    for fenced in FENCE.finditer(EMPTY_FENCE.sub("", text)):
        if fenced[1].strip():
            return fenced[1].strip("\n")
    return text.replace("```", "").strip("\n") or None
