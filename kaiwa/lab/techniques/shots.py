"""Zero-shot and few-shot.

Few-shot (Brown et al. 2020, section 2): k pairs of input and answer before the question, no gradient. The labels of the
pairs may be gold, random, flipped or outside the space (Min et al. 2022; Wei et al. 2023): the effect that remains with
wrong labels is format, not learning. The pairs are drawn from the seed, labels balanced, and are the same for all items
of an arm, so that the pairs are computed once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from kaiwa.core.errors import UserError
from kaiwa.core.rng import python_rng
from kaiwa.lab.asking.program import Call, Program, ProgramResult
from kaiwa.lab.tasks.prompt import Example
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.techniques.technique import Decoding, Technique, extract_result
from kaiwa.text.chat_model import ScoreCall

LABELS = ("gold", "random", "flipped", "foo-bar")
BY = ("text", "likelihood", "likelihood per token")
NEUTRAL = ("foo", "bar", "baz", "qux", "quux", "corge", "grault", "garply")


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroShot:
    """The task's prompt unchanged. `by` "likelihood": the choice that the model finds likeliest; nothing is written."""

    by: str = "text"

    def __post_init__(self) -> None:
        if self.by not in BY:
            raise UserError(f"ZeroShot.by is {self.by!r}; use one of {', '.join(BY)}")

    @property
    def name(self) -> str:
        return "zero-shot" if self.by == "text" else f"zero-shot ({self.by})"

    def demonstration_answer(self, task: Task, demo: Item) -> str:
        return demo.answer

    def run(self, task: Task, item: Item, decoding: Decoding) -> Program:
        prompt = task.render_prompt(item)
        if self.by == "text":
            (reply,) = yield (decoding.call(prompt, task.max_tokens, task.stop),)
            return extract_result(task, item, with_leading_words(task, reply.text), reply)
        if not item.choices:
            raise UserError(f"task {task.name}, item {item.id}: no choices to rate by likelihood")
        space = " " if isinstance(prompt, str) and prompt[-1:] == ":" else ""
        replies = yield [
            Call(request=ScoreCall(context=prompt, continuation=space + choice)) for choice in item.choices
        ]
        lengths = [max(1, r.n_scored) if self.by == "likelihood per token" else 1 for r in replies]
        scores = [r.logprob / n for r, n in zip(replies, lengths, strict=True)]
        best = item.choices[max(range(len(scores)), key=scores.__getitem__)]
        notes = {"logprobs": dict(zip(item.choices, scores, strict=True))}
        return ProgramResult(text=best, answer=best, extracted=True, notes=notes)

    def controls(self) -> Mapping[str, Technique]:
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class FewShot:
    """k demonstrations before the question of `inner`."""

    inner: Technique = field(default_factory=ZeroShot)
    k: int = 4
    labels: str = "gold"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.labels not in LABELS:
            raise UserError(f"FewShot.labels is {self.labels!r}; use one of {', '.join(LABELS)}")
        if self.k < 1:
            raise UserError(f"FewShot.k is {self.k}; give at least 1 demonstration")

    @property
    def name(self) -> str:
        inner = "" if isinstance(self.inner, ZeroShot) and self.inner.by == "text" else f" {self.inner.name}"
        return f"{self.k}-shot{inner}" + ("" if self.labels == "gold" else f", {self.labels} labels")

    def demonstration_answer(self, task: Task, demo: Item) -> str:
        return self.inner.demonstration_answer(task, demo)

    def examples(self, task: Task) -> list[Example]:
        """Return the demonstrations, the same for all items of a task."""
        demos = choose_demonstrations(task, self.k, self.seed)
        answers = relabel(task, demos, self.labels, self.seed)
        changed = [dataclasses.replace(d, answer=a) for d, a in zip(demos, answers, strict=True)]
        return [Example(d.input, self.inner.demonstration_answer(task, d), d.columns) for d in changed]

    def run(self, task: Task, item: Item, decoding: Decoding) -> Program:
        return (yield from self.inner.run(task.with_examples(self.examples(task)), item, decoding))

    def controls(self) -> Mapping[str, Technique]:
        """Return the inner technique's controls with as many demonstrations; where `inner` has no controls, wrong
        labels.
        """
        arms: dict[str, Technique] = {"no demonstrations": self.inner}
        if inner := self.inner.controls():
            return arms | {name: FewShot(inner=control, k=self.k, seed=self.seed) for name, control in inner.items()}
        for labels in LABELS[1:]:
            arms[f"{labels} labels"] = FewShot(inner=self.inner, k=self.k, labels=labels, seed=self.seed)
        return arms


def with_leading_words(task: Task, text: str) -> str:
    """Put the prompt's leading words before a reply, unless the reply repeats the words (chat models do)."""
    lead = task.prompt.leading_words
    last = lead.splitlines()[-1].strip() if lead.strip() else ""
    return text if not last or last in text else f"{lead} {text.lstrip()}"


def choose_demonstrations(task: Task, k: int, seed: int) -> list[Item]:
    """Choose k demos, each answer of a label task as often as every other, in random order. UserError for too few."""
    if len(task.demos) < k:
        raise UserError(f"task {task.name}: {len(task.demos)} demonstrations for a {k}-shot arm; give more or lower k")
    rng = python_rng(seed, "demos", task.name)
    pool = list(task.demos)
    rng.shuffle(pool)
    groups: dict[str, list[Item]] = {}
    for demo in pool:
        groups.setdefault(demo.answer if demo.choices else "", []).append(demo)
    chosen: list[Item] = []
    while len(chosen) < k:
        for group in groups.values():
            if group and len(chosen) < k:
                chosen.append(group.pop())
    rng.shuffle(chosen)
    return chosen


def relabel(task: Task, demos: list[Item], labels: str, seed: int) -> list[str]:
    """Return the demos' answers as the arm shows them. UserError where wrong labels are impossible."""
    gold = [demo.answer for demo in demos]
    if labels == "gold":
        return gold
    rng = python_rng(seed, "labels", task.name, labels)
    space = list(dict.fromkeys([c for demo in demos for c in demo.choices] or [demo.answer for demo in task.demos]))
    if len(space) < 2:
        raise UserError(f"task {task.name}: {labels} labels need at least two different answers among the demos")
    if labels == "random":
        return [rng.choice(space) for _ in gold]
    if labels == "flipped":
        return [space[(space.index(g) + 1) % len(space)] for g in gold]
    return [NEUTRAL[space.index(g) % len(NEUTRAL)] for g in gold]
