"""Graders: from an answer to (valid, score). Valid is whether the answer can be graded at all; an answer that is not
valid scores 0 and is shown apart, so that bad format is never mistaken for bad reasoning.

exact · number (tolerance) · contains · regex · f1 (words, or characters in Japanese) · json (a schema) · python, sql
(can it be parsed) · count (lines or sentences between low and high)
"""

from __future__ import annotations

import ast
import json
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.lab.tasks.task import Grader, Item, Task
from kaiwa.lab.tasks.tools import ToolError, calculate

REGEX_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Grade:
    valid: bool
    score: float


def grade(task: Task, item: Item, answer: str | None) -> Grade:
    """`answer` is what the extractor found (None: nothing). UserError for a grader that cannot work."""
    if answer is None:
        return Grade(False, 0.0)
    if task.grader.name not in GRADERS:
        raise UserError(f"grader {task.grader.name!r} is unknown{did_you_mean(task.grader.name, GRADERS)}")
    return GRADERS[task.grader.name](task.grader, answer, item.answer)


def normalise(text: str) -> str:
    """NFKC, lower case, single spaces, no full stop at the end."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().split()).strip(" .。!！\"'「」")


def exact(grader: Grader, answer: str, right: str) -> Grade:
    return Grade(True, float(normalise(answer) == normalise(right)))


def contains(grader: Grader, answer: str, right: str) -> Grade:
    return Grade(True, float(normalise(right) in normalise(answer)))


def close_number(grader: Grader, answer: str, right: str) -> Grade:
    try:
        number, target = float(answer), float(right)
    except ValueError:
        return Grade(False, 0.0)
    return Grade(True, float(abs(number - target) <= grader.tolerance * max(1.0, abs(target))))


def regex(grader: Grader, answer: str, right: str) -> Grade:
    """The grader's pattern is found in the answer ({answer} in it stands for the right answer, escaped)."""
    return Grade(True, float(search_safely(grader.pattern.replace("{answer}", re.escape(right)), answer)))


def f1(grader: Grader, answer: str, right: str) -> Grade:
    """Harmonic mean of precision and recall over words, or characters where there are no spaces to split at."""
    split: Callable[[str], list[str]] = str.split if normalise(right).isascii() else list
    answer_words, right_words = Counter(split(normalise(answer))), Counter(split(normalise(right)))
    shared = sum((answer_words & right_words).values())
    if not shared:
        return Grade(True, 0.0)
    return Grade(True, 2 * shared / (sum(answer_words.values()) + sum(right_words.values())))


def json_schema(grader: Grader, answer: str, right: str) -> Grade:
    """Valid: it is JSON. Score: it fits the schema and, where the item has an answer, equals it."""
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return Grade(False, 0.0)
    good = not schema_error(value, grader.schema)
    return Grade(True, float(good and (not right or value == json.loads(right))))


def python(grader: Grader, answer: str, right: str) -> Grade:
    """Whether Python can parse it (it is not run)."""
    try:
        ast.parse(answer)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return Grade(True, 0.0)
    return Grade(True, 1.0)


def sql(grader: Grader, answer: str, right: str) -> Grade:
    """Whether SQLite can parse one statement, known tables or not (it is not run: EXPLAIN, on an empty database)."""
    statement = answer.split(";")[0].strip()
    with sqlite3.connect(":memory:") as database:
        try:
            database.execute(f"EXPLAIN {statement}")
        except sqlite3.Error as error:
            return Grade(True, float(bool(statement) and "no such" in str(error)))
    return Grade(True, float(bool(statement)))


def count(grader: Grader, answer: str, right: str) -> Grade:
    """From low to high sentences (or lines, if there are several)."""
    lines = [line for line in answer.splitlines() if line.strip()]
    parts = lines if len(lines) > 1 else [s for s in re.split(r"(?<=[.!?])\s+|(?<=[。！？])", answer) if s.strip()]
    return Grade(True, float(grader.low <= len(parts) <= grader.high))


def game24(grader: Grader, answer: str, right: str) -> Grade:
    """`right` holds the numbers: an expression that uses each once and makes 24. Valid: it is an expression."""
    text = answer.split("=")[0].replace("×", "*").replace("÷", "/").strip()
    if not re.fullmatch(r"[\d\s+\-*/().]{1,80}", text):
        return Grade(False, 0.0)
    try:
        value = float(calculate(text))
    except ToolError:
        return Grade(False, 0.0)
    used = sorted(map(int, re.findall(r"\d+", text)))
    return Grade(True, float(abs(value - 24) < 1e-6 and used == sorted(map(int, right.split()))))


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
}


def schema_error(value: Any, schema: Mapping[str, Any], where: str = "$") -> str:
    """ "" if the value fits; else the first place that does not. type, enum, properties, required,
    additionalProperties, items, minItems, maxItems, minimum, maximum, pattern of JSON Schema."""
    kinds: dict[str, type | tuple[type, ...]] = {
        "object": dict,
        "array": list,
        "string": str,
        "number": (int, float),
        "integer": int,
        "boolean": bool,
        "null": type(None),
    }
    kind = schema.get("type")
    if kind is not None:
        if kind not in kinds:
            raise UserError(f"schema: type {kind!r} at {where} is unknown{did_you_mean(str(kind), kinds)}")
        if not isinstance(value, kinds[kind]) or (isinstance(value, bool) and kind != "boolean"):
            return f"{where} is no {kind}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{where} is none of {schema['enum']}"
    if isinstance(value, dict):
        known = schema.get("properties", {})
        for name in schema.get("required", ()):
            if name not in value:
                return f"{where}.{name} is missing"
        for name, inner in value.items():
            if name not in known and schema.get("additionalProperties") is False:
                return f"{where}.{name} is not expected"
            if name in known and (error := schema_error(inner, known[name], f"{where}.{name}")):
                return error
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            return f"{where} has {len(value)} items"
        for i, inner in enumerate(value):
            if error := schema_error(inner, schema.get("items", {}), f"{where}[{i}]"):
                return error
    if isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return f"{where} = {value} is out of range"
    if isinstance(value, str) and "pattern" in schema and not search_safely(schema["pattern"], value):
        return f"{where} does not match"
    return ""


def search_safely(pattern: str, text: str) -> bool:
    """re.search that ends: UserError after REGEX_SECONDS (a pattern can take longer than the universe)."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"regex {pattern!r}: {error}") from None
    slow = UserError(f"regex {pattern[:60]!r} took more than {REGEX_SECONDS:g} s; make it simpler")
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        script = "import json,re,sys; p,t=json.load(sys.stdin); print(bool(re.search(p,t)))"
        try:
            done = subprocess.run(
                [sys.executable, "-c", script],
                input=json.dumps([pattern, text]),
                capture_output=True,
                text=True,
                timeout=REGEX_SECONDS,
                check=True,
            )
        except subprocess.TimeoutExpired:
            raise slow from None
        return done.stdout.strip() == "True"

    def stop(number: int, frame: FrameType | None) -> None:
        raise slow

    old = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, REGEX_SECONDS)
    try:
        return compiled.search(text) is not None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
