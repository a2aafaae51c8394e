"""The protocol of a technique, and the words that techniques use.

A technique has three functions: the wording of a demonstration's answer (`demonstration_answer`), the program that
answers an item (`run`), and the control arms (`controls`), without which the technique's effect cannot be told from the
effect of more tokens. A technique that wraps another technique (FewShot, SelfConsistency) calls the inner functions, so
techniques compose.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from kaiwa.lab.asking.program import Call, Program, ProgramResult, Reply
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


GREEDY = Sampling(temperature=0.0)  # how the lab asks unless an experiment says otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How a program's calls are decoded. `sampling.seed` names the run; `sample` numbers the samples of one item.

    The sampling's max_tokens are not used: each call sets max_tokens.
    """

    sampling: Sampling = GREEDY
    sample: int = 0

    def call(self, prompt: Conversation | str, max_tokens: int, stop: tuple[str, ...] = ()) -> Call:
        """Return a call that continues `prompt` by at most `max_tokens`; `stop` adds to the sampling's own strings."""
        stops = (*stop, *self.sampling.stop)
        sampling = dataclasses.replace(self.sampling, max_tokens=max_tokens, stop=stops)
        request = GenerateCall(prompt=prompt, sampling=sampling)
        return Call(request=request, sample=self.sample if sampling.temperature else 0)

    def as_sample(self, temperature: float, sample: int) -> Decoding:
        """Return the decoding of a numbered sample, at another temperature."""
        return Decoding(sampling=dataclasses.replace(self.sampling, temperature=temperature), sample=sample)


class Technique(Protocol):
    @property
    def name(self) -> str: ...

    def demonstration_answer(self, task: Task, demo: Item) -> str:
        """Return the whole answer of a demonstration."""
        ...

    def run(self, task: Task, item: Item, decoding: Decoding) -> Program: ...

    def controls(self) -> Mapping[str, Technique]:
        """Return name -> arm: the arms to beat before the technique's idea gets the credit."""
        ...


def technique_words(task: Task) -> Mapping[str, str]:
    return WORDS.get(task.language, WORDS["en"])


def answer_sentence(task: Task, demo: Item) -> str:
    return technique_words(task)["the_answer"].format(answer=demo.answer)


def extract_result(task: Task, item: Item, text: str, reply: Reply | None = None) -> ProgramResult:
    """Return a technique's result from text, by the common extractor. `reply`: the reply that the text comes from."""
    cut = reply is not None and reply.finish_reason == "length"
    return ProgramResult(text=text, answer=extract(task.kind, text, item.choices, cut), extracted=True)


def with_max_tokens(task: Task, max_tokens: int) -> Task:
    return dataclasses.replace(task, max_tokens=max(task.max_tokens, max_tokens))


def append_turn(prompt: Conversation | str, reply: str, next_message: str) -> Conversation | str:
    """Append the model's reply to the prompt, and the next user message."""
    if isinstance(prompt, str):
        return f"{prompt} {reply.strip()}\n{next_message}"
    return (*prompt, Message("assistant", reply.strip() or "…"), Message("user", next_message))


def append_text(prompt: Conversation | str, text: str) -> Conversation | str:
    """Append text to the prompt (to the last message)."""
    if isinstance(prompt, str):
        return f"{prompt} {text}"
    return (*prompt[:-1], Message(prompt[-1].role, f"{prompt[-1].content}\n{text}"))
