"""Tree of thought on the Game of 24 (Yao et al. 2023b, section 4.1): reach 24 from four numbers with + - * /.

A state is the numbers left. Each level proposes operations (the model writes, arithmetic is checked and impossible
lines are dropped), rates each new state (sure / maybe / impossible) and keeps the best `breadth`. `search` is the same
tree without a model: it says which items can be solved, and is the tests' twin. Control: one chain that writes the
whole expression.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from kaiwa.lab.asking.program import Program, Said, Wish
from kaiwa.lab.tasks.game24 import Numbers, apply_operator
from kaiwa.lab.tasks.prompt import Prompt
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.techniques.shots import ZeroShot
from kaiwa.lab.techniques.technique import How, Technique

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

    def shown(self, task: Task, demo: Item) -> str:
        return demo.equation or demo.answer

    def run(self, task: Task, item: Item, how: How) -> Program:
        states: list[State] = [tuple((Fraction(n), n) for n in item.input.split())]
        seen = 0
        for _ in range(len(states[0]) - 1):
            replies = yield [_ask(task, how, PROPOSE, left, self.max_tokens) for left in states]
            after: dict[Numbers, State] = {}
            for left, reply in zip(states, replies, strict=True):
                for new in proposals(left, reply.text):
                    after.setdefault(values(new), new)
            seen += len(after)
            if not after:
                return Said(answer=None, extracted=True, notes={"states": seen})
            rates = yield [_ask(task, how, RATE, left, 4) for left in after.values()]
            order = sorted(zip(after.values(), rates, strict=True), key=lambda p: -rating(values(p[0]), p[1].text))
            states = [state for state, _ in order[: self.breadth]]
        text = states[0][0][1]
        return Said(text=text, answer=text, extracted=True, notes={"states": seen})

    def controls(self) -> Mapping[str, Technique]:
        return {"one chain": ZeroShot()}


def _ask(task: Task, how: How, text: str, left: State, max_tokens: int) -> Wish:
    shown = " ".join(map(str, values(left)))
    return how.ask(task.ask(Item(id="state", input=text.format(left=shown), answer=""), Prompt()), max_tokens)


def values(state: State) -> Numbers:
    return tuple(value for value, _ in state)


def rating(left: Numbers, text: str) -> float:
    if len(left) == 1:
        return 3.0 if left[0] == 24 else -1.0
    return next((value for word, value in VALUES.items() if word in text.lower()), 1.0)


def proposals(left: State, text: str) -> list[State]:
    """Lines "a op b =" over numbers that are left -> the states after them, sorted by value."""
    found = []
    for a, op, b in LINE.findall(text):
        rest = list(left)
        taken = []
        for wanted in (Fraction(a), Fraction(b)):
            place = next((i for i, (value, _) in enumerate(rest) if value == wanted), None)
            if place is not None:
                taken.append(rest.pop(place))
        if len(taken) < 2:
            continue
        (one, left_text), (two, right_text) = taken
        value = apply_operator(one, op, two)
        if value is not None:
            sign = {"×": "*", "÷": "/"}.get(op, op)
            found.append(tuple(sorted((*rest, (value, f"({left_text} {sign} {right_text})")))))
    return found
