"""Tasks in files, for `kaiwa evaluate`: an experiment's TOML, benchmarks' files, or a user's own rows.

x.toml                      its [[tasks]], as experiments write them (docs/lab.md)
gsm8k:x.jsonl               a loader's name before the path
x.jsonl .csv .tsv .parquet  {"question", "choices", "answer"}: multiple choice; answer is a choice's text, its number
                            from 0, or its letter from A. Without "choices" the answer is written: a number is compared
                            as a number, anything else as text. "id", "cluster" and "language" may come along
word-sums-en                a built-in task's name
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.lab.experiments.experiment_file import read_experiment
from kaiwa.lab.tasks.benchmarks import LOADERS, QUESTION, load_benchmark
from kaiwa.lab.tasks.by_name import generate_task, is_number
from kaiwa.lab.tasks.rows import read_rows
from kaiwa.lab.tasks.task import Grader, Item, Task

QUESTION_COLUMNS = ("question", "input", "prompt", "text")
FILES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")


def read_tasks(name: str, n: int = 0) -> list[Task]:
    """Read the tasks of a file, or a built-in task by name; at most n items each (0: all, or 100 of a built-in
    task).
    """
    loader, colon, rest = name.partition(":")
    if colon and loader in LOADERS:
        return [load_benchmark(loader, Path(rest), n)]
    path = Path(name)
    if path.suffix in (".toml", ".py"):
        return [task.first(n) if n else task for task in read_experiment(path).tasks]
    if path.suffix in FILES:
        return [task_from_rows(path, n)]
    if path.exists():
        raise UserError(f"{path}: give .toml, {', '.join(FILES)}, or LOADER:FILE with one of {', '.join(LOADERS)}")
    return [generate_task(name, n or 100)]


def task_from_rows(path: Path, n: int = 0) -> Task:
    """Build a task from rows with question and answer. UserError names the row."""
    rows = read_rows(path)
    if not rows:
        raise UserError(f"{path}: no rows; nothing to evaluate")
    items, languages = [], set()
    for number, row in enumerate(rows[: n or None]):
        where = f"{path}, row {number + 1}"
        column = next((c for c in QUESTION_COLUMNS if row.get(c)), "")
        if not column or row.get("answer") is None:
            raise UserError(
                f"{where}: {' or '.join(QUESTION_COLUMNS)}, and answer are needed; there is {', '.join(map(str, row))}"
            )
        choices = _choices(row.get("choices"), where)
        answer = _answer(row["answer"], choices, where)
        languages.add(str(row.get("language", "")))
        id, cluster = str(row.get("id") or number), str(row.get("cluster") or "")
        items.append(Item(id=id, input=str(row[column]), answer=answer, choices=choices, cluster=cluster))
    if any(item.choices for item in items) and not all(item.choices for item in items):
        raise UserError(f"{path}: some rows have choices and some have none; put them into two files")
    language = "ja" if languages == {"ja"} else "en"
    numbers = all(is_number(item.answer) for item in items)
    kind = "choice" if items[0].choices else "number" if numbers else "word"
    grader = Grader(name="number" if kind == "number" else "exact")
    return Task(
        name=path.stem, language=language, kind=kind, prompt=QUESTION[language], items=tuple(items), grader=grader
    )


def _choices(value: Any, where: str) -> tuple[str, ...]:
    if value is None or value == "":
        return ()
    if isinstance(value, str):  # a CSV has it as JSON, or between bars
        try:
            value = json.loads(value) if value.lstrip().startswith("[") else value.split("|")
        except ValueError:
            raise UserError(f"{where}: choices is no JSON list: {value[:60]!r}") from None
    if isinstance(value, Mapping):  # as ARC has it
        value = value.get("text")
    if not isinstance(value, list) or len(value) < 2 or len(set(map(str, value))) < len(value):
        raise UserError(f"{where}: choices must be at least two different texts")
    return tuple(str(choice).strip() for choice in value)


def _answer(value: Any, choices: tuple[str, ...], where: str) -> str:
    """Return the right choice, given by text, number or letter; without choices, the answer unchanged."""
    text = str(value).strip()
    if not choices or (text in choices and (isinstance(value, bool) or not isinstance(value, int))):
        return text
    number = int(text) if text.isdigit() else ord(text.upper()) - ord("A") if len(text) == 1 else -1
    if not 0 <= number < len(choices):
        raise UserError(f"{where}: answer {text[:40]!r} is none of the {len(choices)} choices, nor a number or letter")
    return choices[number]
