"""Generated knowledge (Liu et al. 2022): the model writes statements first, then answers with each of them.

    answer = argmax_c max_{k in {none} + statements} P(c | k, question)                       (section 2.2, eq. 2)

Controls: no knowledge, statements made for another question (what any text before the question does), gold knowledge
(what good knowledge could do). Choices are rated by likelihood, so the task needs choices.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

from kaiwa.core.errors import UserError
from kaiwa.core.rng import python_rng
from kaiwa.lab.asking.program import Program, Reply, Said, Wish
from kaiwa.lab.tasks.prompt import Prompt
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.techniques.shots import ZeroShot
from kaiwa.lab.techniques.technique import How, Technique, words
from kaiwa.text.chat_model import ScoreCall
from kaiwa.text.records import Conversation, Message

SOURCES = ("self", "none", "shuffled", "gold")


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedKnowledge:
    """n statements from `source`; "shuffled" takes another item's gold statement."""

    source: str = "self"
    n: int = 3
    temperature: float = 0.8
    max_tokens: int = 40

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise UserError(f"GeneratedKnowledge.source is {self.source!r}; use one of {', '.join(SOURCES)}")

    @property
    def name(self) -> str:
        return "generated knowledge" if self.source == "self" else f"{self.source} knowledge"

    def shown(self, task: Task, demo: Item) -> str:
        return demo.answer

    def run(self, task: Task, item: Item, how: How) -> Program:
        if not item.choices:
            raise UserError(f"task {task.name}, item {item.id}: generated knowledge rates choices, and there are none")
        statements = yield from self._statements(task, item, how)
        contexts = [_before(task.ask(item), statement, words(task)["knowledge_label"]) for statement in statements]
        contexts = [task.ask(item), *contexts]
        replies = yield [
            Wish(call=ScoreCall(context=context, continuation=_start(context) + choice))
            for context in contexts
            for choice in item.choices
        ]
        best, answer = -math.inf, item.choices[0]
        for row in range(len(contexts)):
            found = [r.logprob for r in replies[row * len(item.choices) : (row + 1) * len(item.choices)]]
            total = math.log(sum(math.exp(x - max(found)) for x in found)) + max(found)  # softmax over the choices
            for choice, logprob in zip(item.choices, found, strict=True):
                if logprob - total > best:
                    best, answer = logprob - total, choice
        return Said(text=answer, answer=answer, extracted=True, notes={"knowledge": statements})

    def _statements(self, task: Task, item: Item, how: How) -> Generator[Sequence[Wish], list[Reply], list[str]]:
        if self.source == "none":
            return []
        if self.source in ("gold", "shuffled"):
            return [_gold(task, item, self.source, how.seed)]
        told = words(task)
        ask = Prompt(
            instruction=told["knowledge"],
            input=f"{told['question_label']} {{input}}",
            output_indicator=told["knowledge_label"],
            language=task.language,
        )
        wishes = [
            How(temperature=self.temperature, sample=i, seed=how.seed).ask(
                task.ask(item, ask), self.max_tokens, ("\n",)
            )
            for i in range(self.n)
        ]
        replies = yield wishes
        found = [" ".join(reply.text.split()) for reply in replies]
        return list(dict.fromkeys(text for text in found if text))

    def controls(self) -> Mapping[str, Technique]:
        arms: dict[str, Technique] = {"plain": ZeroShot(by="likelihood")}
        return arms | {f"{s} knowledge": GeneratedKnowledge(source=s) for s in SOURCES[1:]}


def _gold(task: Task, item: Item, source: str, seed: int) -> str:
    """The item's own true statement, or one of another item with another answer."""
    if source == "gold":
        if not item.knowledge:
            raise UserError(f"task {task.name}, item {item.id}: no knowledge noted; leave the gold arm out")
        return item.knowledge
    others = [other.knowledge for other in task.items if other.knowledge and other.answer != item.answer]
    if not others:
        raise UserError(f"task {task.name}: no other item's knowledge to shuffle; leave that arm out")
    return python_rng(seed, "shuffled", task.name, item.id).choice(others)


def _before(prompt: Conversation | str, statement: str, label: str) -> Conversation | str:
    if isinstance(prompt, str):
        return f"{label} {statement}\n\n{prompt}"
    return (*prompt[:-1], Message("user", f"{label} {statement}\n\n{prompt[-1].content}"))


def _start(prompt: Conversation | str) -> str:
    return " " if isinstance(prompt, str) and prompt[-1:] == ":" else ""
