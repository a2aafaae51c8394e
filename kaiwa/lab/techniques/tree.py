"""Tree of thought on the Game of 24 (Yao et al. 2023b, section 4.1): reach 24 from four numbers with + - * /.

A state is the numbers that remain. Each level proposes operations (the model writes, arithmetic is checked and
impossible lines are dropped), rates each new state (sure / maybe / impossible) and keeps the best `breadth`. The same
tree without a model is tasks/game24.py. Control: one chain that writes the whole expression.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from kaiwa.lab.asking.program import Call, Program, ProgramResult
from kaiwa.lab.tasks.game24 import Numbers, apply_operator
from kaiwa.lab.tasks.prompt import Prompt
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.techniques.shots import ZeroShot
from kaiwa.lab.techniques.technique import Decoding, Technique

State = tuple[tuple[Fraction, str], ...]  # each number with how it was made
LINE = re.compile(r"(-?\d+(?:/\d+)?)\s*([-+*/×÷])\s*(-?\d+(?:/\d+)?)\s*=")
PROPOSE = "Numbers: {left}. Write possible next steps, one a line, such as: 4 + 9 ="
RATE = "Can these numbers reach 24: {left}? Answer with one word: sure, maybe or impossible."
VALUES = {"sure": 2.0, "maybe": 1.0, "impossible": 0.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeOfThought:
    breadth: int = 3
    max_tokens: int = 64

    @property
    def name(self) -> str:
        return "tree of thought"

    def demonstration_answer(self, task: Task, demo: Item) -> str:
        return demo.equation or demo.answer

    def run(self, task: Task, item: Item, decoding: Decoding) -> Program:
        states: list[State] = [tuple((Fraction(n), n) for n in item.input.split())]
        n_states = 0
        for _ in range(len(states[0]) - 1):
            replies = yield [_ask(task, decoding, PROPOSE, state, self.max_tokens) for state in states]
            next_states: dict[Numbers, State] = {}
            for state, reply in zip(states, replies, strict=True):
                for new in parse_proposals(state, reply.text):
                    next_states.setdefault(state_numbers(new), new)
            n_states += len(next_states)
            if not next_states:
                return ProgramResult(answer=None, extracted=True, notes={"states": n_states})
            rates = yield [_ask(task, decoding, RATE, state, 4) for state in next_states.values()]
            ratings = {
                state: rate_state(state_numbers(state), reply.text)
                for state, reply in zip(next_states.values(), rates, strict=True)
            }
            states = sorted(ratings, key=lambda state: -ratings[state])[: self.breadth]
        text = states[0][0][1]
        return ProgramResult(text=text, answer=text, extracted=True, notes={"states": n_states})

    def controls(self) -> Mapping[str, Technique]:
        return {"one chain": ZeroShot()}


def _ask(task: Task, decoding: Decoding, text: str, state: State, max_tokens: int) -> Call:
    question = text.format(left=" ".join(map(str, state_numbers(state))))
    prompt = task.render_prompt(Item(id="state", input=question, answer=""), Prompt())
    return decoding.call(prompt, max_tokens)


def state_numbers(state: State) -> Numbers:
    return tuple(value for value, _ in state)


def rate_state(numbers: Numbers, text: str) -> float:
    if len(numbers) == 1:
        return 3.0 if numbers[0] == 24 else -1.0
    return next((value for word, value in VALUES.items() if word in text.lower()), 1.0)


def parse_proposals(state: State, text: str) -> list[State]:
    """Parse lines "a op b =" over numbers of the state; return the states after the operations, sorted by value."""
    proposals = []
    for a, op, b in LINE.findall(text):
        others = list(state)
        operands = []
        for number in (Fraction(a), Fraction(b)):
            position = next((i for i, (value, _) in enumerate(others) if value == number), None)
            if position is not None:
                operands.append(others.pop(position))
        if len(operands) < 2:
            continue
        (one, left_text), (two, right_text) = operands
        value = apply_operator(one, op, two)
        if value is not None:
            sign = {"×": "*", "÷": "/"}.get(op, op)
            proposals.append(tuple(sorted((*others, (value, f"({left_text} {sign} {right_text})")))))
    return proposals
