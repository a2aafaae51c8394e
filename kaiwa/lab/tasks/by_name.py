"""The available tasks: built-in tasks by name ("word-sums-ja"), and users' files."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.lab.tasks import reasoning, village
from kaiwa.lab.tasks.prompt import Prompt
from kaiwa.lab.tasks.rows import read_placed_rows
from kaiwa.lab.tasks.task import Grader, Item, Task
from kaiwa.lab.tasks.variables import check_parts, fill
from kaiwa.text.records import whole_text

TaskGenerator = Callable[[str, int, int], Task]  # language, n, seed

GENERATED: Mapping[str, TaskGenerator] = {
    "word-sums": reasoning.word_sums,
    "last-letters": reasoning.last_letters,
    "coin-flip": reasoning.coin_flip,
    "dates": reasoning.dates,
    "game-of-24": reasoning.game_of_24,
    "sentiment": village.sentiment,
    "facts": village.facts,
    "extraction": village.extraction,
    "length": village.length,
    "lists": village.lists,
    "code-python": lambda language, n, seed: village.code_prefix(language, n, seed),
    "code-sql": lambda language, n, seed: village.code_prefix(language, n, seed, kind="sql"),
}


def generate_task(name: str, n: int = 100, seed: int = 0) -> Task:
    """Generate a built-in task, such as "word-sums-en" or "coin-flip-ja". UserError for an unknown name."""
    stem, _, language = name.rpartition("-")
    if stem not in GENERATED or language not in ("en", "ja"):
        known = [f"{stem}-{language}" for stem in GENERATED for language in ("en", "ja")]
        raise UserError(f"no task {name!r}{did_you_mean(name, known)}")
    return GENERATED[stem](language, n, seed)


def is_number(text: str) -> bool:
    """Return whether a right answer is a number as the extractor writes one."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _right_answer(text: str, choices: Sequence[str], where: str) -> str:
    """Return the right answer as the choices spell it. UserError where it is none of them."""
    if not choices or text in choices:
        return text
    near = [choice for choice in choices if normalise(choice) == normalise(text)]
    if len(near) != 1:
        raise UserError(f"{where}: the right answer {text[:40]!r} is none of the choices {', '.join(choices)[:120]}")
    return near[0]


def normalise(text: str) -> str:
    """Return the text in NFKC and lower case, with single spaces, without full stops and quotes at both ends."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().split()).strip(" .。!！\"'「」")


def task_from_file(
    path: Path,
    *,
    prompt: Prompt,
    answer: str = "answer",
    id: str = "id",
    input: str = "input",
    choices: tuple[str, ...] = (),
    cluster: str = "",
    kind: str = "",
    grader: Grader | None = None,
    n: int = 0,
    n_demos: int = 8,
    max_tokens: int = 64,
    language: str = "en",
) -> Task:
    """Build a task from a user's file: every column is a variable of the prompt; rows without an id are numbered.

    The first `n_demos` rows are demonstrations, and the next `n` (0: all) the items. `kind` "": choice where there are
    choices, number where every answer is one, else word. UserError names the row.
    """
    items = []
    for number, (where, row) in enumerate(read_placed_rows(path)):
        if answer not in row:
            raise UserError(f"{where}: no column {answer!r} with the right answer; there is {', '.join(row)}")
        if row[answer] is None or not str(row[answer]).strip():
            raise UserError(f"{where}: the right answer ({answer}) is empty; fill it in or take the row out")
        columns = {str(k): "" if v is None else whole_text(str(v)) for k, v in row.items()}
        if input in columns:
            columns["input"] = columns[input]
        names = prompt.variables(columns)
        if "input" in names and "input" not in columns:
            raise UserError(f"{where}: no column {input!r} for {{input}}{did_you_mean(input, columns)}")
        check_parts(prompt.parts(), columns, where)
        if answer in names and answer != input:
            raise UserError(f"{where}: the prompt shows {{{answer}}}, which is the right answer; take it out")
        question = columns["input"] if "input" in names else fill(prompt.input, columns, where)
        items.append(
            Item(
                id=columns.get(id) or str(number),
                input=question,
                answer=_right_answer(columns[answer], choices, where),
                choices=choices,
                reasoning=columns.get("reasoning", ""),
                knowledge=columns.get("knowledge", ""),
                cluster=columns.get(cluster, "") if cluster else "",
                columns={name: value for name, value in columns.items() if name != answer or answer == input},
            )
        )
    if len(items) <= n_demos:
        raise UserError(f"{path}: {len(items)} rows, of which {n_demos} are kept for demonstrations; nothing is left")
    if not kind and grader is not None and grader.name == "assertions":
        kind = "text"
    if not kind:
        kind = "choice" if choices else "number" if all(is_number(item.answer) for item in items) else "word"
    return Task(
        name=path.stem,
        language=language,
        kind=kind,
        prompt=prompt,
        items=tuple(items[n_demos : n_demos + n if n else None]),
        demos=tuple(items[:n_demos]),
        grader=grader or Grader(name="number" if kind == "number" else "exact"),
        max_tokens=max_tokens,
    )
