"""Several prompts for one answer: least-to-most, self-ask, prompt chaining.

LeastToMost (Zhou et al. 2023): the model names simpler questions, answers these in order, then the question. SelfAsk
(Press et al. 2023): one prompt in which the model asks itself follow-up questions before the final answer. PromptChain:
the output of each prompt is a variable of the next ({previous}); the lecture's prompt chaining. The control of all
three is one call with as many tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kaiwa.core.errors import UserError
from kaiwa.lab.asking.program import Program, ProgramResult
from kaiwa.lab.tasks.prompt import Prompt, render
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.tasks.variables import check_parts
from kaiwa.lab.techniques.shots import ZeroShot
from kaiwa.lab.techniques.technique import (
    Decoding,
    Technique,
    answer_sentence,
    append_text,
    append_turn,
    extract_result,
)
from kaiwa.lab.techniques.votes import Longer

BREAK_DOWN = {
    "en": "Which simpler questions must be answered first? Write at most three, one a line. Do not answer them.",
    "ja": "先に答えるべき、より簡単な質問は何ですか。三つまで、一行に一つ書いてください。答えは書かないでください。",
}
NOW = {"en": "Now answer the first question.", "ja": "では、最初の質問に答えてください。"}
ASK_YOURSELF = {
    "en": "Ask yourself follow-up questions and answer each. End with: The answer is …",
    "ja": "自分で追加の質問をし、それぞれに答えてください。最後に「答えは…」と書いてください。",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LeastToMost:
    questions: int = 3
    max_tokens: int = 48

    @property
    def name(self) -> str:
        return "least-to-most"

    def demonstration_answer(self, task: Task, demo: Item) -> str:
        return answer_sentence(task, demo)

    def run(self, task: Task, item: Item, decoding: Decoding) -> Program:
        language = task.language if task.language in NOW else "en"
        first = append_turn(task.render_prompt(item), "…", BREAK_DOWN[language])
        (reply,) = yield (decoding.call(first, self.max_tokens, task.stop),)
        lines = [re.sub(r"^\s*(?:[-*•]|\d+[.)．])?\s*", "", line) for line in reply.text.splitlines()]
        simpler = [line for line in lines if line][: self.questions]
        prompt = append_turn(first, reply.text, simpler[0] if simpler else NOW[language])
        for question in [*simpler[1:], NOW[language]]:
            (reply,) = yield (decoding.call(prompt, self.max_tokens, task.stop),)
            prompt = append_turn(prompt, reply.text, question)
        (reply,) = yield (decoding.call(prompt, self.max_tokens, task.stop),)
        result = extract_result(task, item, reply.text, reply)
        return ProgramResult(text=reply.text, answer=result.answer, extracted=True, notes={"questions": simpler})

    def controls(self) -> Mapping[str, Technique]:
        return {"as many tokens, one answer": Longer(times=self.questions + 2)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfAsk:
    max_tokens: int = 128

    @property
    def name(self) -> str:
        return "self-ask"

    def demonstration_answer(self, task: Task, demo: Item) -> str:
        return f"{demo.reasoning} {answer_sentence(task, demo)}".strip()

    def run(self, task: Task, item: Item, decoding: Decoding) -> Program:
        instruction = ASK_YOURSELF.get(task.language, ASK_YOURSELF["en"])
        (reply,) = yield (
            decoding.call(append_text(task.render_prompt(item), instruction), self.max_tokens, task.stop),
        )
        return extract_result(task, item, reply.text, reply)

    def controls(self) -> Mapping[str, Technique]:
        return {"as many tokens, one answer": Longer(times=4)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptChain:
    """Prompts in a row. {input} is the item's, {previous} the answer to the last prompt."""

    prompts: tuple[Prompt, ...]
    max_tokens: int = 64

    def __post_init__(self) -> None:
        if len(self.prompts) < 2:
            raise UserError(f"Chain: {len(self.prompts)} prompts; a chain needs at least 2")

    @property
    def name(self) -> str:
        return f"chain of {len(self.prompts)} prompts"

    def demonstration_answer(self, task: Task, demo: Item) -> str:
        return demo.answer

    def run(self, task: Task, item: Item, decoding: Decoding) -> Program:
        previous, links = "", []
        for prompt in self.prompts:  # a later prompt that cannot be filled is refused before the first is sent
            check_parts(prompt.parts(), {**item.values(), "previous": ""}, f"task {task.name}, item {item.id}")
        for prompt in self.prompts:
            values = {**item.values(), "previous": previous}
            rendered = render(prompt, values, task.form, f"task {task.name}, item {item.id}")
            (reply,) = yield (decoding.call(rendered, self.max_tokens, task.stop),)
            previous = reply.text.strip()
            links.append(previous)
        end = extract_result(task, item, previous, reply)
        return ProgramResult(text=previous, answer=end.answer, extracted=True, notes={"links": links})

    def controls(self) -> Mapping[str, Technique]:
        return {"one prompt": ZeroShot(), "as many tokens, one answer": Longer(times=len(self.prompts))}
