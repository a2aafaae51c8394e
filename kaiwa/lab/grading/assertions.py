"""Assertions about an answer, several an item, as prompt tests have them: right where every one holds.

    grader = { name = "assertions", assertions = [
      { type = "contains", value = "{city}" },                 # {column}: the item's own value
      { type = "regex", value = "^\\d+ km$" },                  # with a time limit
      { type = "json-schema", value = { type = "object" } },
      { type = "python", value = "check.py" } ] }              # check(answer, columns) -> bool or a score from 0 to 1

`not` before a type turns it round ("not-contains"). A Python file is the user's own and is run as it is.
"""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.lab.grading.safe_regex import search_safely
from kaiwa.lab.tasks.extract import find_json
from kaiwa.lab.tasks.task import Assertion, Item
from kaiwa.lab.tasks.variables import fill

Check = Callable[[Any, str, Mapping[str, str]], float]  # value, answer, the item's values


@dataclass(frozen=True, slots=True)
class AssertionResult:
    """One assertion's score from 0 to 1."""

    name: str
    score: float


def _text(value: Any, values: Mapping[str, str]) -> str:
    return fill(str(value), values, "assertion")


def _contains(value: Any, answer: str, values: Mapping[str, str]) -> float:
    return float(_text(value, values) in answer)


def _icontains(value: Any, answer: str, values: Mapping[str, str]) -> float:
    return float(_text(value, values).casefold() in answer.casefold())


def _equals(value: Any, answer: str, values: Mapping[str, str]) -> float:
    return float(_text(value, values).strip() == answer.strip())


def _starts_with(value: Any, answer: str, values: Mapping[str, str]) -> float:
    return float(answer.lstrip().startswith(_text(value, values)))


def _regex(value: Any, answer: str, values: Mapping[str, str]) -> float:
    return float(search_safely(str(value), answer))


def _json(value: Any, answer: str, values: Mapping[str, str]) -> float:
    """Check that the answer holds JSON, and that it fits the schema, if there is one."""
    from kaiwa.lab.grading.json_schema import schema_error

    text = find_json(answer)
    if text is None:
        return 0.0
    return float(not value or not schema_error(json.loads(text), value))


def _most_words(value: Any, answer: str, values: Mapping[str, str]) -> float:
    return float(len(answer.split()) <= int(value))


def _python(value: Any, answer: str, values: Mapping[str, str]) -> float:
    """Call check(answer, columns) of the user's file. UserError for what it raises and for a score out of range."""
    check = _load_check(str(value))
    try:
        score = float(check(answer, dict(values)))
    except Exception as error:  # whatever a user's function raises is an item's failure, and no end of the run
        raise UserError(f"{value}: check raised {type(error).__name__}: {error}"[:300]) from error
    if not 0 <= score <= 1:
        raise UserError(f"{value}: check returned {score}; a bool or a score from 0 to 1 is needed")
    return score


@lru_cache
def _load_check(path: str) -> Callable[[str, Mapping[str, str]], Any]:
    try:
        check = runpy.run_path(path).get("check")
    except OSError:
        raise UserError(f"{path}: no such file for a python assertion") from None
    if not callable(check):
        raise UserError(f"{path}: no function check(answer, columns) in it")
    return check  # type: ignore[no-any-return]


CHECKS: Mapping[str, Check] = {
    "contains": _contains,
    "icontains": _icontains,
    "equals": _equals,
    "starts-with": _starts_with,
    "regex": _regex,
    "is-json": _json,
    "json-schema": _json,
    "max-words": _most_words,
    "python": _python,
}


def check_types(assertions: tuple[Assertion, ...], where: str) -> None:
    """Check that every assertion's type is known. UserError names the one that is not."""
    for one in assertions:
        if one.type.removeprefix("not-") not in CHECKS:
            raise UserError(f"{where}: no assertion {one.type!r}{did_you_mean(one.type, CHECKS)}")
    if not assertions:
        raise UserError(f"{where}: the grader assertions needs a list of assertions")


def check_assertions(assertions: tuple[Assertion, ...], answer: str, item: Item) -> list[AssertionResult]:
    """Return every assertion's score on an answer. UserError for one that cannot be checked."""
    values = {**item.values(), "answer": item.answer}
    results = []
    for one in assertions:
        negated = one.type.startswith("not-")
        score = CHECKS[one.type.removeprefix("not-")](one.value, answer, values)
        results.append(AssertionResult(one.type, 1 - score if negated else score))
    return results
