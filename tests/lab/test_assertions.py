"""Assertions about an answer, filled from the item's columns."""

from pathlib import Path
from typing import Any

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.experiments.experiment_file import read_experiment
from kaiwa.lab.experiments.run import run
from kaiwa.lab.grading.assertions import check_assertions
from kaiwa.lab.grading.graders import grade
from kaiwa.lab.tasks.task import Assertion, Grader, Item, Task
from tests.lab.fakes import RuleModel

ITEM = Item(id="1", input="q", answer="Oslo", columns={"city": "Oslo"})


@pytest.mark.parametrize(
    ("type", "value", "answer", "score"),
    [
        ("contains", "{city}", "It is Oslo.", 1),
        ("contains", "{city}", "It is oslo.", 0),
        ("icontains", "{answer}", "It is oslo.", 1),
        ("not-contains", "sorry", "It is Oslo.", 1),
        ("equals", "{city}", " Oslo ", 1),
        ("starts-with", "It", "It is", 1),
        ("regex", r"^\\d{2} km$", "12 km", 1),
        ("not-regex", r"\\d", "12 km", 0),
        ("is-json", "", "so: [1]", 1),
        ("json-schema", {"type": "object", "required": ["n"]}, '{"n": 1}', 1),
        ("json-schema", {"type": "object", "required": ["n"]}, '{"m": 1}', 0),
        ("json-schema", {"type": "object"}, "none", 0),
        ("max-words", 2, "one two three", 0),
    ],
)
def test_types(type: str, value: Any, answer: str, score: float) -> None:
    if isinstance(value, str):
        value = value.replace("\\\\", "\\")
    (result,) = check_assertions((Assertion(type=type, value=value),), answer, ITEM)
    assert result.score == score


def test_every_assertion_must_hold() -> None:
    both = (Assertion(type="contains", value="Oslo"), Assertion(type="max-words", value=1))
    task = Task(name="t", kind="text", items=(ITEM,), grader=Grader(name="assertions", assertions=both))
    assert grade(task, ITEM, "Oslo").score == 1.0
    assert grade(task, ITEM, "It is Oslo").score == 0.0


FILE = """
model = "m"
[[tasks]]
file = "t.csv"
answer = "city"
n_demos = 0
prompt = { input = "{q}" }
grader = { name = "assertions", assertions = [ASSERTIONS] }
[[arms]]
technique = "zero-shot"
"""


def write(folder: Path, assertions: str) -> Path:
    (folder / "t.csv").write_text("q,city\\nWhere?,Oslo\\nWhich?,Bonn\\n".replace("\\n", chr(10)))
    (folder / "e.toml").write_text(FILE.replace("ASSERTIONS", assertions))
    return folder / "e.toml"


def test_a_python_function_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "check.py").write_text("def check(answer, columns):\n    return columns['answer'] in answer\n")
    experiment = read_experiment(write(tmp_path, '{ type = "python", value = "check.py" }'))
    first, second = run(experiment, RuleModel(lambda *_: "It is Oslo."))
    assert (first.score, second.score) == (1.0, 0.0)
    (tmp_path / "broken.py").write_text("def check(answer, columns):\n    return 1 / 0\n")
    experiment = read_experiment(write(tmp_path, '{ type = "python", value = "broken.py" }'))
    with pytest.raises(UserError, match=r"every item failed; the first: .*check raised ZeroDivisionError"):
        run(experiment, RuleModel(lambda *_: "x"))


@pytest.mark.parametrize(
    ("assertions", "message"),
    [
        ("", "needs a list of assertions"),
        ('{ type = "contain", value = "x" }', "did you mean 'contains'"),
        ('{ value = "x" }', "assertion 1 has a type"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, assertions: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_experiment(write(tmp_path, assertions))
