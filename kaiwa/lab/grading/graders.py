"""Graders: from an answer to (valid, score). Valid is whether the answer can be graded at all; an answer that is not
valid scores 0 and is shown apart, so that bad format is never mistaken for bad reasoning.

exact · number (tolerance) · contains · regex · f1 (words, or characters in Japanese) · json (a schema) · python, sql
(can it be parsed) · count (lines or sentences between low and high) · assertions (assertions.py: all must hold) ·
one-of, best-f1 (several right answers) · nearer (to true than to false answers) · instructions (IFEval's checks)
"""

from __future__ import annotations

import ast
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.lab.grading.assertions import check_assertions
from kaiwa.lab.grading.safe_regex import search_safely
from kaiwa.lab.tasks.by_name import normalise
from kaiwa.lab.tasks.instruction_checks import follows
from kaiwa.lab.tasks.numbers import find_number
from kaiwa.lab.tasks.reply_text import plain_text
from kaiwa.lab.tasks.task import Grader, Item, Task
from kaiwa.lab.tasks.tools import ToolError, calculate

ASSERTIONS = "assertions"  # the grader that sees the whole item


@dataclass(frozen=True, slots=True)
class Grade:
    """`valid`: the answer can be graded at all. `score`: from 0 to 1, and 0 where not valid."""

    valid: bool
    score: float


def grade(task: Task, item: Item, answer: str | None) -> Grade:
    """Grade an answer by the task's rule; None (nothing was extracted) is not valid.

    UserError for an unknown grader and for a grader that cannot work (a bad pattern or schema).
    """
    if answer is None:
        return Grade(False, 0.0)
    if task.grader.name == ASSERTIONS:
        results = check_assertions(task.grader.assertions, answer, item)
        return Grade(True, min((result.score for result in results), default=0.0))
    if task.grader.name not in GRADERS:
        raise UserError(f"grader {task.grader.name!r} is unknown{did_you_mean(task.grader.name, GRADERS)}")
    return GRADERS[task.grader.name](task.grader, answer, item.answer)


def exact(grader: Grader, answer: str, right: str) -> Grade:
    return Grade(True, float(normalise(answer) == normalise(right)))


def contains(grader: Grader, answer: str, right: str) -> Grade:
    return Grade(True, float(normalise(right) in normalise(answer)))


def close_number(grader: Grader, answer: str, right: str) -> Grade:
    """Compare numbers, both read by the extractor's rule. UserError where the right answer is no number."""
    written, target_text = find_number(plain_text(answer), True), find_number(plain_text(right), True)
    if target_text is None:
        raise UserError(f"the right answer {right[:40]!r} is no number; give the task another grader")
    if written is None:
        return Grade(False, 0.0)
    number, target = float(written), float(target_text)
    return Grade(True, float(abs(number - target) <= grader.tolerance * max(1.0, abs(target))))


def regex(grader: Grader, answer: str, right: str) -> Grade:
    """Search the grader's pattern in the answer; {answer} in the pattern stands for the right answer, escaped."""
    return Grade(True, float(search_safely(grader.pattern.replace("{answer}", re.escape(right)), answer)))


def f1(grader: Grader, answer: str, right: str) -> Grade:
    """Compute F1, the harmonic mean of precision and recall, over words (characters, where the right answer is not
    ASCII)."""
    split: Callable[[str], list[str]] = str.split if normalise(right).isascii() else list
    answer_words, right_words = Counter(split(normalise(answer))), Counter(split(normalise(right)))
    shared = sum((answer_words & right_words).values())
    if not shared:
        return Grade(True, 0.0)
    return Grade(True, 2 * shared / (sum(answer_words.values()) + sum(right_words.values())))


def json_schema(grader: Grader, answer: str, right: str) -> Grade:
    """Check JSON. Valid: can be parsed. Score 1: fits the schema and equals the item's answer, if any."""
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return Grade(False, 0.0)
    from kaiwa.lab.grading.json_schema import schema_error  # jsonschema takes a third of the lab's time to import

    good = not schema_error(value, grader.schema)
    return Grade(True, float(good and (not right or value == json.loads(right))))


def python(grader: Grader, answer: str, right: str) -> Grade:
    """Check whether Python can parse the answer, which is not run."""
    try:
        ast.parse(answer)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return Grade(True, 0.0)
    return Grade(True, 1.0)


def sql(grader: Grader, answer: str, right: str) -> Grade:
    """Check whether SQLite can parse one statement over any tables, by EXPLAIN on an empty database: nothing is run."""
    statement = answer.split(";")[0].strip()
    with sqlite3.connect(":memory:") as database:
        try:
            database.execute(f"EXPLAIN {statement}")
        except sqlite3.Error as error:
            return Grade(True, float(bool(statement) and "no such" in str(error)))
    return Grade(True, float(bool(statement)))


def count(grader: Grader, answer: str, right: str) -> Grade:
    """Check for `low` to `high` lines, or sentences where the answer is one line."""
    lines = [line for line in answer.splitlines() if line.strip()]
    parts = lines if len(lines) > 1 else [s for s in re.split(r"(?<=[.!?])\s+|(?<=[。！？])", answer) if s.strip()]
    return Grade(True, float(grader.low <= len(parts) <= grader.high))


def game24(grader: Grader, answer: str, right: str) -> Grade:
    """Check for an expression that uses each of the numbers in `right` once and makes 24. Valid: can be calculated."""
    text = answer.split("=")[0].replace("×", "*").replace("÷", "/").replace("−", "-").strip()
    if not re.fullmatch(r"[\d\s+\-*/().]{1,80}", text):
        return Grade(False, 0.0)
    try:
        value = float(calculate(text))
    except ToolError:
        return Grade(False, 0.0)
    used = sorted(map(int, re.findall(r"\d+", text)))
    return Grade(True, float(abs(value - 24) < 1e-6 and used == sorted(map(int, right.split()))))


def one_of(grader: Grader, answer: str, right: str) -> Grade:
    """Compare with each of several right answers, which stand on lines of their own."""
    return Grade(True, max(exact(grader, answer, line).score for line in right.splitlines() or [""]))


def best_f1(grader: Grader, answer: str, right: str) -> Grade:
    """Compute F1 with the nearest of several right answers, which stand on lines of their own."""
    return Grade(True, max(f1(grader, answer, line).score for line in right.splitlines() or [""]))


def nearer(grader: Grader, answer: str, right: str) -> Grade:
    """Check that an answer is nearer (F1) to one of the true answers than to any false one (TruthfulQA)."""
    texts = json.loads(right)
    true, false = (max(f1(grader, answer, text).score for text in texts[name]) for name in ("true", "false"))
    return Grade(True, float(true > false))


def instructions(grader: Grader, answer: str, right: str) -> Grade:
    """Check that an answer follows every instruction of the item (IFEval, strict, by prompt)."""
    return Grade(True, float(all(follows(answer, right))))


GRADERS: Mapping[str, Callable[[Grader, str, str], Grade]] = {
    "exact": exact,
    "contains": contains,
    "number": close_number,
    "regex": regex,
    "f1": f1,
    "json": json_schema,
    "python": python,
    "sql": sql,
    "count": count,
    "game24": game24,
    "one-of": one_of,
    "best-f1": best_f1,
    "nearer": nearer,
    "instructions": instructions,
}
