"""What a technique is, and the words that techniques use.

A technique has three functions: how a demonstration's answer is written (`shown`), the program that answers an item
(`run`), and the control arms without which its effect cannot be told from that of its tokens (`controls`). A technique
that wraps another one (FewShot, SelfConsistency) calls the inner one's, so they compose.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from kaiwa.lab.asking.program import Program, Said, Wish
from kaiwa.lab.tasks.extract import extract
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.text.chat_model import GenerateCall
from kaiwa.text.records import Conversation, Message
from kaiwa.text.sampling import Sampling

WORDS = {
    "en": {
        "the_answer": "The answer is {answer}.",
        "step_by_step": "Let's think step by step.",
        "therefore": "Therefore, the answer is",
        "therefore_number": "Therefore, the answer (arabic numerals) is",
        "therefore_choice": "Therefore, the answer ({choices}) is",
        "knowledge": "Generate one short fact that helps to answer the question.",
        "knowledge_label": "Fact:",
        "question_label": "Question:",
    },
    "ja": {
        "the_answer": "答えは{answer}です。",
        "step_by_step": "ステップに分けて考えてください。",
        "therefore": "したがって、答えは",
        "therefore_number": "したがって、答え(算用数字)は",
        "therefore_choice": "したがって、答え({choices})は",
        "knowledge": "質問に答えるために役立つ短い事実を一つ書いてください。",
        "knowledge_label": "事実:",
        "question_label": "質問:",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a program's calls are decoded. `sample` numbers the samples of one item; `seed` names the run."""

    temperature: float = 0.0
    top_p: float = 1.0
    sample: int = 0
    seed: int = 0

    def ask(self, prompt: Conversation | str, max_tokens: int, stop: tuple[str, ...] = ()) -> Wish:
        """A wish to continue `prompt`."""
        call = GenerateCall(
            prompt=prompt,
            sampling=Sampling(
                max_tokens=max_tokens, temperature=self.temperature, top_p=self.top_p, stop=stop, seed=self.seed
            ),
        )
        return Wish(call=call, sample=self.sample if self.temperature else 0)


class Technique(Protocol):
    @property
    def name(self) -> str: ...

    def shown(self, task: Task, demo: Item) -> str:
        """The whole answer of a demonstration."""
        ...

    def run(self, task: Task, item: Item, how: How) -> Program: ...

    def controls(self) -> Mapping[str, Technique]:
        """Name -> arm: what must be beaten before the technique's idea gets the credit."""
        ...


def words(task: Task) -> Mapping[str, str]:
    return WORDS.get(task.language, WORDS["en"])


def the_answer(task: Task, demo: Item) -> str:
    return words(task)["the_answer"].format(answer=demo.answer)


def say(task: Task, item: Item, text: str) -> Said:
    """Text as a technique's end, put through the one extractor."""
    return Said(text=text, answer=extract(task.kind, text, item.choices), extracted=True)


def longer(task: Task, max_tokens: int) -> Task:
    return dataclasses.replace(task, max_tokens=max(task.max_tokens, max_tokens))


def went_on(prompt: Conversation | str, said: str, more: str) -> Conversation | str:
    """The prompt, what the model said, and the next thing it is told."""
    if isinstance(prompt, str):
        return f"{prompt} {said.strip()}\n{more}"
    return (*prompt, Message("assistant", said.strip() or "…"), Message("user", more))


def added(prompt: Conversation | str, text: str) -> Conversation | str:
    """Text at the end of the prompt (of its last message)."""
    if isinstance(prompt, str):
        return f"{prompt} {text}"
    return (*prompt[:-1], Message(prompt[-1].role, f"{prompt[-1].content}\n{text}"))
