"""Chain of thought, few-shot and zero-shot.

ChainOfThought (Wei et al. 2022): demonstrations show the reasoning before the answer. The controls are the paper's own
(section 3.3): the equation only, as many dots as the reasoning has words, the reasoning after the answer, and the
answer alone in the same words; the controls' gain is tokens and format, not thinking.

ZeroShotCoT (Kojima et al. 2022, section 3): "Let's think step by step.", then a second call that asks for the answer.
The paper's baseline had no second call, and most of its answers could not be read; here the control has the same second
call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kaiwa.core.errors import UserError
from kaiwa.lab.asking.program import Program
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.techniques.technique import (
    Decoding,
    Technique,
    answer_sentence,
    append_text,
    append_turn,
    extract_result,
    technique_words,
    with_max_tokens,
)

STYLES = ("reasoning", "answer", "equation", "dots", "after")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainOfThought:
    """Answers with reasoning, which only demonstrations show: use inside FewShot. max_tokens: of an answer."""

    style: str = "reasoning"
    max_tokens: int = 96

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise UserError(f"ChainOfThought.style is {self.style!r}; use one of {', '.join(STYLES)}")

    @property
    def name(self) -> str:
        return "chain of thought" if self.style == "reasoning" else f"chain of thought, {self.style}"

    def demonstration_answer(self, task: Task, demo: Item) -> str:
        """Return the answer in the arm's style. UserError for a demo without reasoning."""
        if not demo.reasoning:
            raise UserError(f"task {task.name}, demo {demo.id}: no reasoning to show")
        end = answer_sentence(task, demo)
        if self.style == "answer":
            return end
        if self.style == "after":
            return f"{end} {demo.reasoning}"
        if self.style == "equation":
            return f"{demo.equation or demo.answer} {end}"
        if self.style == "dots":
            n = len(demo.reasoning.split()) if demo.reasoning.isascii() else len(demo.reasoning) // 2
            return f"{' '.join('.' * max(1, n))} {end}"
        return f"{demo.reasoning} {end}"

    def run(self, task: Task, item: Item, decoding: Decoding) -> Program:
        (reply,) = yield (
            decoding.call(task.render_prompt(item), with_max_tokens(task, self.max_tokens).max_tokens, task.stop),
        )
        return extract_result(task, item, reply.text, reply)

    def controls(self) -> Mapping[str, Technique]:
        return {style: ChainOfThought(style=style, max_tokens=self.max_tokens) for style in STYLES[1:]}


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroShotCoT:
    """Two calls. `trigger` None: the language's own; "": none, which is the control (the same two calls)."""

    trigger: str | None = None
    max_tokens: int = 96

    @property
    def name(self) -> str:
        return (
            "zero-shot CoT"
            if self.trigger is None
            else f"zero-shot CoT {self.trigger!r}"
            if self.trigger
            else "two calls, no trigger"
        )

    def demonstration_answer(self, task: Task, demo: Item) -> str:
        return f"{demo.reasoning} {answer_sentence(task, demo)}".strip()

    def run(self, task: Task, item: Item, decoding: Decoding) -> Program:
        words = technique_words(task)
        trigger = words["step_by_step"] if self.trigger is None else self.trigger
        prompt = task.render_prompt(item)
        first = append_text(prompt, trigger) if trigger else prompt
        (thought,) = yield (decoding.call(first, with_max_tokens(task, self.max_tokens).max_tokens, task.stop),)
        therefore = words["therefore"]
        if task.kind == "number":
            therefore = words["therefore_number"]
        elif item.choices:
            therefore = words["therefore_choice"].format(choices=" / ".join(item.choices))
        (reply,) = yield (decoding.call(append_turn(first, thought.text, therefore), task.max_tokens, task.stop),)
        return extract_result(task, item, reply.text, reply)

    def controls(self) -> Mapping[str, Technique]:
        return {"two calls, no trigger": ZeroShotCoT(trigger="", max_tokens=self.max_tokens)}
