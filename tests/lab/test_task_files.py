"""Tasks from people's own files."""

import json
from pathlib import Path
from typing import Any

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.experiments.task_files import read_tasks, task_from_rows


def rows_file(folder: Path, *rows: dict[str, Any], name: str = "my.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("column", ["question", "input", "prompt", "text"])
def test_the_question_may_have_several_names(tmp_path: Path, column: str) -> None:
    task = task_from_rows(rows_file(tmp_path, {column: "2 + 2?", "answer": 4, "id": "a", "cluster": "sums"}))
    (item,) = task.items
    assert (item.id, item.input, item.answer, item.cluster) == ("a", "2 + 2?", "4", "sums")
    assert (task.name, task.kind, task.grader.name, task.language) == ("my", "number", "number", "en")


def test_rows_without_ids_are_numbered(tmp_path: Path) -> None:
    path = rows_file(tmp_path, *({"question": f"q{i}", "answer": "x"} for i in range(3)))
    assert [item.id for item in task_from_rows(path).items] == ["0", "1", "2"]
    assert [item.id for item in task_from_rows(path, 2).items] == ["0", "1"]


@pytest.mark.parametrize(
    ("answers", "kind", "grader"),
    [((1, "2.5", "-3"), "number", "number"), (("1", "two"), "word", "exact"), (("Paris",), "word", "exact")],
)
def test_the_kind_follows_from_all_answers(tmp_path: Path, answers: tuple[Any, ...], kind: str, grader: str) -> None:
    task = task_from_rows(rows_file(tmp_path, *({"question": "q", "answer": answer} for answer in answers)))
    assert (task.kind, task.grader.name) == (kind, grader)


def test_the_language_is_japanese_only_if_every_row_is(tmp_path: Path) -> None:
    ja, none = {"question": "q", "answer": "x", "language": "ja"}, {"question": "q", "answer": "x"}
    assert task_from_rows(rows_file(tmp_path, ja, ja)).language == "ja"
    assert task_from_rows(rows_file(tmp_path, ja, none)).language == "en"


@pytest.mark.parametrize(
    ("choices", "answer", "right"),
    [
        (["red", "green", "blue"], "green", "green"),
        (["red", "green", "blue"], 2, "blue"),
        (["red", "green", "blue"], "0", "red"),
        (["red", "green", "blue"], "b", "green"),
        (["3", "4", "1"], "1", "1"),  # a text that is a choice
        (["3", "4", "1"], 1, "4"),  # a number counts the choices from 0
        (["True", "False"], False, "False"),
        ('["red", "green"]', "B", "green"),
        ("red| green ", "green", "green"),
        ({"text": ["red", "green"], "label": ["A", "B"]}, "A", "red"),
    ],
)
def test_choices_and_the_right_one(tmp_path: Path, choices: Any, answer: Any, right: str) -> None:
    task = task_from_rows(rows_file(tmp_path, {"question": "q", "choices": choices, "answer": answer}))
    assert task.kind == "choice"
    assert task.items[0].answer == right
    assert right in task.items[0].choices


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"question": "q"}, "row 2: question or input or prompt or text, and answer are needed; there is question"),
        ({"answer": "x", "question": ""}, "are needed; there is answer, question"),
        ({"question": "q", "answer": "d", "choices": ["a", "b"]}, "answer 'd' is none of the 2 choices"),
        ({"question": "q", "answer": 2, "choices": ["a", "b"]}, "answer '2' is none of the 2 choices"),
        ({"question": "q", "answer": "!", "choices": ["a", "b"]}, "answer '!' is none of the 2 choices"),
        ({"question": "q", "answer": "a", "choices": ["a", "a"]}, "at least two different texts"),
        ({"question": "q", "answer": "a", "choices": ["a"]}, "at least two different texts"),
        ({"question": "q", "answer": "a", "choices": {"label": ["A"]}}, "at least two different texts"),
        ({"question": "q", "answer": "a", "choices": '["a", '}, "choices is no JSON list"),
        ({"question": "q", "answer": "a", "choices": ["a", "b"]}, "some rows have choices and some have none"),
    ],
)
def test_errors_say_what_is_wrong(tmp_path: Path, row: dict[str, Any], error: str) -> None:
    path = rows_file(tmp_path, {"question": "q", "answer": "x"}, row)
    with pytest.raises(UserError) as caught:
        task_from_rows(path)
    assert error in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_without_rows(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no rows"):
        task_from_rows(rows_file(tmp_path))


def test_csv_files_have_choices_between_bars(tmp_path: Path) -> None:
    path = tmp_path / "colours.csv"
    path.write_text("question,choices,answer\nSky?,red|blue,blue\nGrass?,green|blue,A\n")
    (task,) = read_tasks(str(path))
    assert [item.answer for item in task.items] == ["blue", "green"]


def test_built_in_tasks_and_benchmarks_by_name(tmp_path: Path) -> None:
    (task,) = read_tasks("last-letters-en", 7)
    assert len(task.items) == 7
    gsm = rows_file(tmp_path, *({"question": "q", "answer": f"so #### {i}"} for i in range(4)))
    (benchmark,) = read_tasks(f"gsm8k:{gsm}", 2)
    assert len(benchmark.items) == 2
    assert all(item.answer.isdigit() for item in benchmark.items)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"give \.toml, \.jsonl"):
        read_tasks(str(path))
