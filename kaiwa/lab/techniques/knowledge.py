"""Generated knowledge (Liu et al. 2022): the model writes statements first, then answers with each statement.

    answer = argmax_c max_{k in {none} + statements} P(c | k, question)                       (section 2.2, eq. 2)

Controls: no knowledge, statements made for another question (the effect of any text before the question), gold
knowledge (the effect of good knowledge). Choices are rated by likelihood, so the task needs choices.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

from kaiwa.core.errors import UserError
from kaiwa.core.rng import python_rng
from kaiwa.lab.asking.program import Call, Program, ProgramResult, Reply
from kaiwa.lab.tasks.prompt import Prompt
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.techniques.shots import ZeroShot
from kaiwa.lab.techniques.technique import Decoding, Technique, technique_words
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

    def demonstration_answer(self, task: Task, demo: Item) -> str:
        return demo.answer

    def run(self, task: Task, item: Item, decoding: Decoding) -> Program:
        if not item.choices:
            raise UserError(f"task {task.name}, item {item.id}: generated knowledge rates choices, and there are none")
        statements = yield from self._statements(task, item, decoding)
        contexts = [
            _prepend(task.render_prompt(item), statement, technique_words(task)["knowledge_label"])
            for statement in statements
        ]
        contexts = [task.render_prompt(item), *contexts]
        replies = yield [
            Call(request=ScoreCall(context=context, continuation=_separator(context) + choice))
            for context in contexts
            for choice in item.choices
        ]
        best, answer = -math.inf, item.choices[0]
        for row in range(len(contexts)):
            logprobs = [r.logprob for r in replies[row * len(item.choices) : (row + 1) * len(item.choices)]]
            total = math.log(sum(math.exp(x - max(logprobs)) for x in logprobs)) + max(
                logprobs
            )  # softmax over the choices
            for choice, logprob in zip(item.choices, logprobs, strict=True):
                if logprob - total > best:
                    best, answer = logprob - total, choice
        return ProgramResult(text=answer, answer=answer, extracted=True, notes={"knowledge": statements})

    def _statements(
        self, task: Task, item: Item, decoding: Decoding
    ) -> Generator[Sequence[Call], list[Reply], list[str]]:
        if self.source == "none":
            return []
        if self.source in ("gold", "shuffled"):
            return [_reference_statement(task, item, self.source, decoding.sampling.seed)]
        words = technique_words(task)
        ask = Prompt(
            instruction=words["knowledge"],
            input=f"{words['question_label']} {{input}}",
            output_indicator=words["knowledge_label"],
            language=task.language,
        )
        calls = [
            decoding.as_sample(self.temperature, i).call(task.render_prompt(item, ask), self.max_tokens, ("\n",))
            for i in range(self.n)
        ]
        replies = yield calls
        texts = [" ".join(reply.text.split()) for reply in replies]
        return list(dict.fromkeys(text for text in texts if text))

    def controls(self) -> Mapping[str, Technique]:
        arms: dict[str, Technique] = {"plain": ZeroShot(by="likelihood")}
        return arms | {f"{s} knowledge": GeneratedKnowledge(source=s) for s in SOURCES[1:]}


def _reference_statement(task: Task, item: Item, source: str, seed: int) -> str:
    """Return the item's own true statement, or the statement of another item with another answer."""
    if source == "gold":
        if not item.knowledge:
            raise UserError(f"task {task.name}, item {item.id}: no knowledge noted; leave the gold arm out")
        return item.knowledge
    others = [other.knowledge for other in task.items if other.knowledge and other.answer != item.answer]
    if not others:
        raise UserError(f"task {task.name}: no other item's knowledge to shuffle; leave that arm out")
    return python_rng(seed, "shuffled", task.name, item.id).choice(others)


def _prepend(prompt: Conversation | str, statement: str, label: str) -> Conversation | str:
    if isinstance(prompt, str):
        return f"{label} {statement}\n\n{prompt}"
    return (*prompt[:-1], Message("user", f"{label} {statement}\n\n{prompt[-1].content}"))


def _separator(prompt: Conversation | str) -> str:
    return " " if isinstance(prompt, str) and prompt[-1:] == ":" else ""
