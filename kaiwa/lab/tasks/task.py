"""A task: items with answers, the prompt that asks for the answers, separate demonstrations, and a grader.

`demos` are never graded (everything searched or shown comes from `demos`), `items` are never shown.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.lab.tasks.extract import KINDS
from kaiwa.lab.tasks.prompt import Example, Prompt, render
from kaiwa.text.records import Conversation


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One question.

    `input`: what the item asks; for a user's file without a column of that name, the prompt's input element filled.
    `answer`: the right answer, as the extractor writes it. `reasoning`, `equation`: the way to the answer (only
    demonstrations need these fields). `knowledge`: a true statement that helps. `cluster`: items of the same cluster
    are not independent. `columns`: further variables of the prompt.
    """

    id: str
    input: str
    answer: str
    choices: tuple[str, ...] = ()
    reasoning: str = ""
    equation: str = ""
    knowledge: str = ""
    cluster: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)

    def values(self) -> dict[str, str]:
        """Return the values of a prompt's variables; a column "input" stands before the field of that name."""
        return {"input": self.input, **self.columns}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A model that grades: its name (a server's, with `url`), a rubric, and a file of labelled cases to check the judge
    with (docs/lab.md); without a file, the demonstrations' own answers and wrong answers.
    """

    model: str
    url: str = ""
    api_key_env: str = ""
    rubric: str = ""
    labels: str = ""


JUDGED = ("model", "pairwise")  # graders that are models


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """One condition of an answer: a type of grading/assertions.py and its value, text with {columns} or a schema."""

    type: str
    value: Any = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grader:
    """`name` of a function in grading/graders.py, or "model" or "pairwise" with a judge
    (experiments/judge_scores.py); `pattern` for regex, `schema` for JSON, `tolerance` for numbers, `low` and `high`
    for counts, `assertions` for the grader of that name."""

    name: str = "exact"
    pattern: str = ""
    schema: Mapping[str, object] = field(default_factory=dict)
    tolerance: float = 1e-6
    low: int = 0
    high: int = 0
    assertions: tuple[Assertion, ...] = ()
    judge: Judge | None = None

    def __post_init__(self) -> None:
        if (self.judge is not None) != (self.name in JUDGED):
            raise UserError(f"grader {self.name!r}: a judge belongs to {' and '.join(JUDGED)}, and only to them")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Items with their prompt and grader. `kind` of answer: one of extract.KINDS. `form`: set by the run to the
    model's."""

    name: str
    language: str = "en"
    kind: str = "word"
    prompt: Prompt = field(default_factory=Prompt)
    items: tuple[Item, ...] = ()
    demos: tuple[Item, ...] = ()
    grader: Grader = field(default_factory=Grader)
    form: str = "chat"
    max_tokens: int = 32
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"task {self.name}: kind {self.kind!r} is unknown; use one of {', '.join(KINDS)}")
        if not self.items:
            raise UserError(f"task {self.name}: no items; the data set is empty")
        ids: set[str] = set()
        for item in self.items:
            if item.id in ids:
                raise UserError(f"task {self.name}: the id {item.id!r} occurs twice")
            ids.add(item.id)
        demo_ids = {demo.id for demo in self.demos}
        if ids & demo_ids:
            raise UserError(f"task {self.name}: item {min(ids & demo_ids)!r} is among the demonstrations too")

    def render_prompt(self, item: Item, prompt: Prompt | None = None) -> Conversation | str:
        """Render the item's prompt. UserError with the item's id for a variable without a column."""
        return render(prompt or self.prompt, item.values(), self.form, f"task {self.name}, item {item.id}")

    def with_examples(self, examples: Sequence[Example]) -> Task:
        return dataclasses.replace(self, prompt=dataclasses.replace(self.prompt, examples=tuple(examples)))

    def with_prompt(self, prompt: Prompt) -> Task:
        return dataclasses.replace(self, prompt=prompt)

    def first(self, n: int) -> Task:
        """Return the task with the first n items; items are in random order already, drawn from a seed."""
        return dataclasses.replace(self, items=self.items[:n])
