"""Sums of several numbers, worked out one at a time, and the documents that teach a small model five ways to answer.

    Question: What is 7 + 15 - 3 + 8?
    Answer: 7 + 15 = 22. 22 - 3 = 19. 19 + 8 = 27. The answer is 27.         reasoning
    Answer: The answer is 27.                                                answer alone
    Answer: 7 + 15 - 3 + 8 = 27. The answer is 27.                           equation only
    Answer: . . . . . . . . . . . . . . . The answer is 27.                  dots, as many as the reasoning has words
    Answer: The answer is 27. 7 + 15 = 22. 22 - 3 = 19. 19 + 8 = 27.         reasoning after the answer

A document has the form of an arm of the experiment: demonstrations answered in one way, and one more question answered
in the same way. All ways get equally many questions, so only the text before the answer differs. The sums that are
graded stand in no document.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator

from kaiwa.core.rng import python_rng
from kaiwa.lab.tasks.prompt import Example, Prompt, render
from kaiwa.lab.tasks.task import Grader, Item, Task
from kaiwa.lab.techniques.shots import FewShot
from kaiwa.lab.techniques.technique import Technique
from kaiwa.lab.techniques.thought import STYLES, ChainOfThought
from kaiwa.text.records import Document

SHOTS = 2
MOST = 99  # of every running total
LENGTHS = (2, 3, 4, 5, 6)  # numbers in a sum
PAIRS = 59 * 19 + sum(60 - more for more in range(1, 20))  # 2,071 different sums of two numbers, the rarest length
DEMOS = 16
TOKENS = 96  # of an answer; the longest has about 80
PROMPT = Prompt(input="Question: {input}", output_indicator="Answer:")
NAMES = {"reasoning": "chain of thought", "answer": "answer alone", "after": "reasoning after", "dots": "dots"}


def arms() -> dict[str, Technique]:
    """Return name -> few-shot technique for each of the five ways."""
    return {
        NAMES.get(style, f"{style} only"): FewShot(inner=ChainOfThought(style=style, max_tokens=TOKENS), k=SHOTS)
        for style in ("answer", *(style for style in STYLES if style != "answer"))
    }


def sums(length: int, n: int, seed: int = 0, n_demos: int = DEMOS) -> Task:
    """Build a task of n different sums of `length` numbers, and demonstrations of the same length."""
    assert length > 2 or n + n_demos <= PAIRS, "no more different sums than there are"
    rng = python_rng(seed, "sums", length)
    items_by_input: dict[str, Item] = {}
    while len(items_by_input) < n + n_demos:
        item = _sum(rng, length, f"sum-{length}-{len(items_by_input)}")
        items_by_input.setdefault(item.input, item)
    items = tuple(items_by_input.values())
    return Task(
        name=f"{length} numbers",
        kind="number",
        prompt=PROMPT,
        items=items[n_demos:],
        demos=items[:n_demos],
        grader=Grader(name="number"),
        form="text",
        max_tokens=TOKENS,
    )


def documents(n: int, graded: Collection[str], seed: int = 0) -> Iterator[Document]:
    """Yield n documents without the graded inputs; the ways take turns, lengths are drawn."""
    rng = python_rng(seed, "worked-out sums")
    techniques = [ChainOfThought(style=style) for style in STYLES]
    task = Task(name="sums", prompt=PROMPT, items=(Item(id="-", input="-", answer="-"),))
    for number in range(n):
        technique, length = techniques[number % len(techniques)], rng.choice(LENGTHS)
        items: list[Item] = []
        while len(items) <= SHOTS:
            item = _sum(rng, length, str(len(items)))
            if item.input not in graded:
                items.append(item)
        *examples_items, last = items
        examples = [Example(item.input, technique.demonstration_answer(task, item)) for item in examples_items]
        rendered = render(task.with_examples(examples).prompt, {"input": last.input}, "text")
        yield Document(text=f"{rendered} {technique.demonstration_answer(task, last)}", source="sums", id=str(number))


def _sum(rng: random.Random, length: int, id: str) -> Item:
    """Draw a number below 60, then add or subtract numbers below 20; the total stays from 0 to MOST."""
    total = rng.randrange(1, 60)
    text, steps = str(total), []
    for _ in range(length - 1):
        more = rng.randrange(1, 20)
        plus = rng.random() < 0.6
        if (plus and total + more > MOST) or (not plus and total < more):
            plus = not plus
        after = total + more if plus else total - more
        sign = "+" if plus else "-"
        text += f" {sign} {more}"
        steps.append(f"{total} {sign} {more} = {after}.")
        total = after
    equation = f"{text} = {total}."
    return Item(id=id, input=f"What is {text}?", answer=str(total), reasoning=" ".join(steps), equation=equation)
