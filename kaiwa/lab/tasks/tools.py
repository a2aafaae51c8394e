"""Tools for ReAct, all offline: search over the user's own texts, look-up, calculator, dates.

A tool takes a string and returns a string; a tool that cannot do its work raises ToolError, whose text the model sees.
"""

from __future__ import annotations

import ast
import datetime
import math
import operator
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kaiwa.core.errors import UserError

OPERATORS: Mapping[type, Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")


class ToolError(Exception):
    """A tool could not do its work; the model sees the message."""


def calculate(text: str) -> str:
    """Calculate + - * / // % and brackets over numbers; nothing else is evaluated. Floats have 10 digits at most."""
    plain = text.replace("×", "*").replace("÷", "/").replace("−", "-").replace(",", "").strip()
    if len(plain) > 200:
        raise ToolError("the expression is too long")
    try:
        value = _value(ast.parse(plain, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ToolError(f"{text!r} is no sum") from None
    except (ZeroDivisionError, OverflowError) as error:
        raise ToolError(str(error)) from None
    return f"{value:.10g}"


def _value(node: ast.expr) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    if isinstance(node, ast.UnaryOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](_value(node.operand))
    raise ValueError


def add_days(text: str) -> str:
    """Add days to a date: "2024-02-27 + 3" -> "2024-03-01 (Friday)"."""
    match = re.fullmatch(r"\s*(\d{4}-\d\d-\d\d)\s*(?:([+-])\s*(\d{1,6})\s*(?:days?|日)?)?\s*", text)
    if match is None:
        raise ToolError(f"{text!r} is not understood; write 2024-02-27 + 3")
    try:
        day = datetime.date.fromisoformat(match[1])
        day += datetime.timedelta(days=int((match[2] or "+") + (match[3] or "0")))
    except (ValueError, OverflowError) as error:
        raise ToolError(str(error)) from None
    return f"{day.isoformat()} ({day:%A})"


@dataclass(slots=True)
class Library:
    """The user's texts, searched by words (or pairs of characters, where there are no spaces): BM25 (Robertson 1994).

    search: the first `sentences` of the best text. look_up: the next sentence of the found text that contains a word.
    """

    texts: Sequence[str]
    sentences: int = 5  # Yao et al. 2023, section 3.1
    counts: list[Counter[str]] = field(init=False)
    best_sentences: list[str] = field(init=False, default_factory=list)
    n_shown: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        if not self.texts:
            raise UserError("search: no texts; give the library at least one")
        self.counts = [Counter(split_terms(text)) for text in self.texts]

    def search(self, query: str) -> str:
        scores = self.scores(query)
        best = max(range(len(scores)), key=scores.__getitem__)
        if scores[best] <= 0:
            raise ToolError(f"nothing found about {query!r}")
        self.best_sentences = [s.strip() for s in SENTENCE.split(self.texts[best]) if s and s.strip()]
        self.n_shown = 0
        return " ".join(self.best_sentences[: self.sentences])

    def look_up(self, word: str) -> str:
        if not self.best_sentences:
            raise ToolError("search first")
        hits = [s for s in self.best_sentences if word.strip().lower() in s.lower()]
        if self.n_shown >= len(hits):
            raise ToolError(f"no more sentence with {word!r}")
        self.n_shown += 1
        return hits[self.n_shown - 1]

    def scores(self, query: str) -> list[float]:
        mean = sum(c.total() for c in self.counts) / len(self.counts)
        total = [0.0] * len(self.counts)
        for term in set(split_terms(query)):
            n = sum(term in count for count in self.counts)
            weight = math.log(1 + (len(self.counts) - n + 0.5) / (n + 0.5))
            for i, count in enumerate(self.counts):
                if times := count[term]:
                    total[i] += weight * times * 2.2 / (times + 1.2 * (0.25 + 0.75 * count.total() / mean))
        return total


def split_terms(text: str) -> list[str]:
    """Split a text into words of letters and digits in lower case; Japanese text into pairs of characters."""
    terms: list[str] = []
    for word in re.findall(r"[a-z0-9]+|[^\W\d_a-z]+", text.lower()):
        terms += [word] if word.isascii() else [word[i : i + 2] for i in range(max(1, len(word) - 1))]
    return terms


Tool = Callable[[str], str]


def make_toolbox(texts: Sequence[str] = ()) -> dict[str, Tool]:
    """Make the tools by the name that an action uses. Each program needs its own tools: look-up remembers the last
    search.
    """
    tools: dict[str, Tool] = {"Calc": calculate, "Date": add_days}
    if texts:
        library = Library(texts)
        tools |= {"Search": library.search, "Lookup": library.look_up}
    return tools
