"""Graders: the rules at their limits."""

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.grading.graders import GRADERS, Grade, grade, normalise
from kaiwa.lab.tasks.task import Grader, Item, Task


def graded(answer: str | None, right: str = "", **options: object) -> Grade:
    item = Item(id="1", input="x", answer=right)
    return grade(Task(name="t", items=(item,), grader=Grader(**options)), item, answer)  # type: ignore[arg-type]


def test_normalising() -> None:
    assert normalise("  Ｍill\n Lane. ") == "mill lane"
    assert normalise("「はい」。") == "はい"
    assert normalise('"Yes!"') == "yes"


def test_nothing_is_not_valid_and_unknown_graders_are_named() -> None:
    assert graded(None) == Grade(False, 0.0)
    with pytest.raises(UserError, match="did you mean 'exact'"):
        graded("x", name="exat")
    assert set(GRADERS) == {
        "exact", "contains", "number", "regex", "f1", "json", "python", "sql", "count", "game24",
        "one-of", "best-f1", "nearer", "instructions",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "right", "tolerance", "grade_"),
    [
        ("100", "100", 1e-6, Grade(True, 1.0)),
        ("101", "100", 0.01, Grade(True, 1.0)),
        ("101.1", "100", 0.01, Grade(True, 0.0)),
        ("0.005", "0", 0.01, Grade(True, 1.0)),
        ("a few", "100", 0.01, Grade(False, 0.0)),
    ],
)
def test_numbers(answer: str, right: str, tolerance: float, grade_: Grade) -> None:
    assert graded(answer, right, name="number", tolerance=tolerance) == grade_


def test_patterns_escape_the_right_answer() -> None:
    assert graded("1+1", "1+1", name="regex", pattern="^{answer}$").score == 1.0
    assert graded("111", "1+1", name="regex", pattern="^{answer}$").score == 0.0
    with pytest.raises(UserError, match="regex"):
        graded("x", name="regex", pattern="(")


@pytest.mark.parametrize(
    ("answer", "right", "score"),
    [
        ("red cat", "red cat", 1.0),
        ("a red", "red cat", 0.5),
        ("dog", "cat", 0.0),
        ("cat cat", "cat", 2 / 3),
        ("", "cat", 0.0),
    ],
)
def test_f1(answer: str, right: str, score: float) -> None:
    assert graded(answer, right, name="f1").score == pytest.approx(score)


def test_json_must_equal_the_right_answer_where_there_is_one() -> None:
    schema = {"type": "object"}
    assert graded('{"a": 1, "b": 2}', '{"b": 2, "a": 1}', name="json", schema=schema) == Grade(True, 1.0)
    assert graded('{"a": 1}', '{"a": 2}', name="json", schema=schema) == Grade(True, 0.0)
    assert graded("[1]", "", name="json", schema=schema) == Grade(True, 0.0)
    assert graded('{"a": 1}', "", name="json", schema=schema) == Grade(True, 1.0)
    assert graded("{", "", name="json", schema=schema) == Grade(False, 0.0)


@pytest.mark.parametrize(
    ("statement", "score"),
    [
        ("SELECT a FROM missing", 1.0), ("select 1; drop table x", 1.0), ("INSERT INTO t VALUES (1)", 1.0),
        ("SELECT FROM", 0.0), ("", 0.0), (";", 0.0), ("hello", 0.0),
    ],
)  # fmt: skip
def test_sql_is_parsed_and_not_run(statement: str, score: float) -> None:
    assert graded(statement, name="sql").score == score


def test_python_is_parsed_and_not_run() -> None:
    assert graded("raise SystemExit", name="python").score == 1.0
    assert graded("x = (", name="python").score == 0.0
    assert graded("x\0", name="python").score == 0.0


@pytest.mark.parametrize(
    ("answer", "n"),
    [("One. Two! Three?", 3), ("a\nb\n\nc\nd", 4), ("一つ。二つ！", 2), ("no end", 1), ("3.14 is pi.", 1), ("", 0)],
)
def test_counts(answer: str, n: int) -> None:
    assert graded(answer, name="count", low=n, high=n).score == 1.0
    assert graded(answer, name="count", low=n + 1, high=n + 1).score == 0.0


@pytest.mark.parametrize(
    ("answer", "grade_"),
    [
        ("8 / (3 - 8 / 3)", Grade(True, 1.0)),
        ("8 ÷ (3 − 8 ÷ 3)", Grade(True, 1.0)),
        ("8 ÷ (3 - 8 ÷ 3) = 24", Grade(True, 1.0)),
        ("3 * 8", Grade(True, 0.0)),
        ("3 * 8 * 3 / 3", Grade(True, 0.0)),
        ("8 / (8 - 8)", Grade(False, 0.0)),
        ("24", Grade(True, 0.0)),
        ("I cannot", Grade(False, 0.0)),
    ],
)
def test_the_game_of_24(answer: str, grade_: Grade) -> None:
    assert graded(answer, "3 3 8 8", name="game24") == grade_
