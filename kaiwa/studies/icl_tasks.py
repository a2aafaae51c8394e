"""Two tasks that are learned from the prompt alone, a few tokens a demonstration, so that 16 fit into 256 tokens.

    category   "goat: animal"   words of the village; the labels' names must be seen, the words are known
    recall     "tor: red"       a mapping drawn anew for each item; only the prompt gives the mapping

An item has 16 demonstrations of its own, and k of them are shown: the first k, so that k = 8 includes the
demonstrations of k = 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kaiwa.core.rng import python_rng
from kaiwa.lab.asking.program import Call, Program, ProgramResult
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.techniques.technique import Decoding, Technique
from kaiwa.text.chat_model import ScoreCall
from kaiwa.world.language import LANGUAGES, VALUE_IDS

MOST = 16  # demonstrations an item
CATEGORIES = ("animal", "food", "trade")
COLOURS = ("red", "blue", "green", "white")
SYLLABLES = ("tor", "mip", "lan", "gus", "bek", "rof")


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstDemonstrations:
    """The first k of the item's own demonstrations, then its word; the likeliest label is the answer."""

    k: int

    @property
    def name(self) -> str:
        return f"k = {self.k}"

    def demonstration_answer(self, task: Task, demo: Item) -> str:
        return demo.answer

    def run(self, task: Task, item: Item, decoding: Decoding) -> Program:
        lines = [*item.columns["demos"].splitlines()[: self.k], f"{item.input}:"]
        context = "\n".join(lines)
        replies = yield [Call(request=ScoreCall(context=context, continuation=f" {choice}")) for choice in item.choices]
        scores = {choice: reply.logprob for choice, reply in zip(item.choices, replies, strict=True)}
        best = max(scores, key=scores.__getitem__)
        return ProgramResult(text=best, answer=best, extracted=True, notes={"logprobs": scores, "right": item.answer})

    def controls(self) -> Mapping[str, Technique]:
        return {}


def category(n: int, seed: int = 0) -> Task:
    names = LANGUAGES["en"].values
    words = [(names[kind][id], kind) for kind in CATEGORIES for id in VALUE_IDS[kind]]
    items = []
    for number in range(n):
        drawn = python_rng(seed, "category", number).sample(words, MOST + 1)
        items.append(_item(f"category-{number}", drawn, CATEGORIES))
    return _task("category", items)


def recall(n: int, seed: int = 0) -> Task:
    items = []
    for number in range(n):
        rng = python_rng(seed, "recall", number)
        colours = rng.choices(COLOURS, k=len(SYLLABLES))
        mapping = list(zip(SYLLABLES, colours, strict=True))
        items.append(_item(f"recall-{number}", [rng.choice(mapping) for _ in range(MOST + 1)], COLOURS))
    return _task("recall", items)


def _item(id: str, drawn: list[tuple[str, str]], choices: tuple[str, ...]) -> Item:
    """Build an item that asks for the last drawn pair's label and has the other pairs as demonstrations."""
    *demos, (word, label) = drawn
    lines = "\n".join(f"{w}: {answer}" for w, answer in demos)
    return Item(id=id, input=word, answer=label, choices=choices, columns={"demos": lines})


def _task(name: str, items: list[Item]) -> Task:
    return Task(name=name, kind="choice", items=tuple(items), form="text")
