"""Elements, the formatter, files that round-trip, the one extractor, graders."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaiwa.core.errors import UserError
from kaiwa.lab.grading.graders import Grade, grade
from kaiwa.lab.grading.json_schema import schema_error
from kaiwa.lab.grading.safe_regex import search_safely
from kaiwa.lab.tasks.extract import extract
from kaiwa.lab.tasks.numbers import parse_kanji_number
from kaiwa.lab.tasks.prompt import DELIMITERS, Example, Prompt, render
from kaiwa.lab.tasks.prompt_file import prompt_from_markdown, read_prompt
from kaiwa.lab.tasks.task import Grader, Item, Task
from kaiwa.text.records import Message


def test_files_say_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('instrution = "x"')
    with pytest.raises(UserError, match="did you mean 'instruction'"):
        read_prompt(tmp_path / "p.toml")
    (tmp_path / "p.md").write_text("## instruction\nSum up.\n## output_indicator\nSummary:\n")
    assert read_prompt(tmp_path / "p.md") == Prompt("Sum up.", output_indicator="Summary:")
    for text in ("hello", "## nothing\nx"):
        with pytest.raises(UserError):
            prompt_from_markdown(text)
    with pytest.raises(UserError, match="delimiters"):
        Prompt(delimiters="dots")


P = Prompt(
    instruction="Name the colour of {thing}.",
    examples=(Example("grass", "green"),),
    input="Thing: {input}",
    output_indicator="Colour:",
)


def test_text_form() -> None:
    found = render(P, {"input": "snow", "thing": "things"}, "text")
    assert found == "Name the colour of things.\n\nThing: grass\nColour: green\n\nThing: snow\nColour:"


def test_chat_form() -> None:
    found = render(P, {"input": "{x}", "thing": "things"}, "chat")
    assert found == (
        Message("user", "Name the colour of things.\n\nThing: grass\nColour:"),
        Message("assistant", "green"),
        Message("user", "Thing: {x}\nColour:"),
    )


@pytest.mark.parametrize("delimiters", DELIMITERS)
def test_delimiters_and_order(delimiters: str) -> None:
    prompt = Prompt(
        "Sum up.", "ctx", (), "{input}", "Out:", "It", delimiters, ("input", "context", "examples", "instruction")
    )
    text = render(prompt, {"input": "data"}, "text")
    assert isinstance(text, str)
    assert text.index("data") < text.index("ctx") < text.index("Sum up.")
    assert text.endswith("Out: It"), "the answer begins where the prompt ends, whatever the order"
    mark = {"none": "data", "hashes": "### Input\ndata", "quotes": '"""\ndata\n"""', "tags": "<input>\ndata"}
    assert mark[delimiters] in text
    assert prompt.drop_element("context").context == ""


def test_a_variable_without_a_column() -> None:
    task = Task(
        name="t", items=(Item(id="q7", input="x", answer="y", columns={"title": "a"}),), prompt=Prompt("{titel}")
    )
    with pytest.raises(UserError, match=r"item q7: the variable \{titel\} has no column; did you mean 'title'"):
        task.render_prompt(task.items[0])


@pytest.mark.parametrize(
    ("kind", "text", "choices", "answer"),
    [
        ("number", "48 + 24 = 72, so 72.", (), "72"),
        ("number", "The answer is 1,234. Then 5 more.", (), "1234"),
        ("number", "答えは１２個です。3人", (), "12"),
        ("number", "答え:二十三です", (), "23"),
        ("number", "全部で三万五千円", (), "35000"),
        ("number", "-3.50", (), "-3.5"),
        ("number", "no idea", (), None),
        ("number", "Therefore, the answer (arabic numerals) is 8", (), "8"),
        ("number", "したがって、答え(算用数字)は 8", (), "8"),
        ("choice", "It could be a cat, but the answer is dog. Not cat.", ("cat", "dog"), "dog"),
        ("choice", "cat? no: Dog.", ("cat", "dog"), "dog"),
        ("choice", "はい。いいえ", ("はい", "いいえ"), "はい"),
        ("choice", "unhappy", ("happy", "unhappy"), "unhappy"),
        ("choice", "nothing", ("no", "yes"), None),
        ("word", "First\nAnswer: nd.", (), "nd"),
        ("word", "  \n", (), None),
        ("json", 'Sure! {"a": [1, {"b": 2}]} bye', (), '{"a": [1, {"b": 2}]}'),
        ("json", '{"a": ', (), None),
        ("code", "Here:\n```python\nx = 1\n```", (), "x = 1"),
        ("code", "```\n\n```sql\nSELECT 1\n```\nThat is it.", (), "SELECT 1"),
        ("text", " hi ", (), "hi"),
        ("lines", "a\n\nb", (), "a\nb"),
    ],
)
def test_extract(kind: str, text: str, choices: tuple[str, ...], answer: str | None) -> None:
    assert extract(kind, text, choices) == answer


@given(st.integers(0, 10**12 - 1))
@settings(deadline=None)
def test_kanji_numbers(value: int) -> None:
    assert parse_kanji_number(in_kanji(value)) == value
    assert extract("number", f"答えは{in_kanji(value)}です") == str(value)


def in_kanji(value: int) -> str:
    if value == 0:
        return "零"
    text = ""
    for unit, name in ((10**8, "億"), (10**4, "万"), (1, "")):
        part, value = divmod(value, unit)
        small = ""
        for base, sign in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
            digit, part = divmod(part, base)
            if digit:
                small += ("" if digit == 1 and base > 1 else "〇一二三四五六七八九"[digit]) + sign
        text += small + name if small else ""
    return text


@pytest.mark.parametrize(
    ("grader", "answer", "right", "score"),
    [
        (Grader(), "  Mill  Lane.", "mill lane", 1.0),
        (Grader(), "Ｍｉｌｌ", "mill", 1.0),
        (Grader(name="contains"), "it is 2024-03-01 (Fri)", "2024-03-01", 1.0),
        (Grader(name="number"), "72.0", "72", 1.0),
        (Grader(name="regex", pattern=r"^{answer}\b"), "a.b c", "a.b", 1.0),
        (Grader(name="f1"), "the red cat", "red cat", 0.8),
        (Grader(name="f1"), "東京都", "東京", 0.8),
        (Grader(name="python"), "def f(:", "", 0.0),
        (Grader(name="python"), "def f(): pass", "", 1.0),
        (Grader(name="sql"), "SELECT name FROM users WHERE x > 3;", "", 1.0),
        (Grader(name="sql"), "SELEC name FROM users", "", 0.0),
        (Grader(name="count", low=2, high=2), "One. Two!", "", 1.0),
        (Grader(name="count", low=2, high=2), "一つです。二つです。三つです。", "", 0.0),
        (Grader(name="game24"), "(10 - 4) * (13 - 9) = 24", "4 9 10 13", 1.0),
        (Grader(name="game24"), "4 * 6", "4 9 10 13", 0.0),
    ],
)
def test_graders(grader: Grader, answer: str, right: str, score: float) -> None:
    item = Item(id="1", input="x", answer=right)
    task = Task(name="t", items=(item,), grader=grader)
    found = grade(task, item, answer)
    assert found.valid
    assert found.score == pytest.approx(score)
    assert grade(task, item, None) == Grade(False, 0.0)


def test_json_schema() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]}
    assert schema_error({"n": 2}, schema) == ""
    assert schema_error({"n": True}, schema) == "$.n: True is not of type 'integer'"
    assert "less than the minimum" in schema_error({"n": 0}, schema)
    assert "'n' is a required property" in schema_error({}, schema)
    strict = {**schema, "additionalProperties": False}
    assert "'m' was unexpected" in schema_error({"n": 1, "m": 2}, strict)
    item = Item(id="1", input="", answer='{"n": 2}')
    task = Task(name="t", kind="json", items=(item,), grader=Grader(name="json", schema=schema))
    assert grade(task, item, json.dumps({"n": 2})).score == 1.0
    assert grade(task, item, json.dumps({"n": 3})).score == 0.0
    assert not grade(task, item, "{").valid


def test_a_regex_that_explodes_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kaiwa.lab.grading.safe_regex.REGEX_SECONDS", 0.2)
    began = time.monotonic()
    with pytest.raises(UserError, match="simpler"):
        search_safely(r"(a+)+$", "a" * 40 + "b")
    assert time.monotonic() - began < 5
    with pytest.raises(UserError, match="regex"):
        search_safely("(", "a")
