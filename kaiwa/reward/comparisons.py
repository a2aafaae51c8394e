"""Comparisons as token rows: prompt and completions, with the end-of-turn token where a completion ended by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kaiwa.core.errors import UserError
from kaiwa.core.rng import numpy_rng, python_rng
from kaiwa.reward.packing import PromptRow
from kaiwa.text import data
from kaiwa.text.history import fit_turns
from kaiwa.text.records import Comparison, Message
from kaiwa.text.template import render_completions
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.train.held_out import by_prompt


@dataclass(frozen=True, slots=True)
class Ranked:
    """A ranked comparison as tokens. number: the record's number in its file, from 1."""

    row: PromptRow
    ranks: tuple[int, ...]
    labeller: str
    number: int = 0


@dataclass(slots=True)
class RecordCount:
    """The number of records of one kind, and the number of the first such record."""

    n: int = 0
    first: int = 0

    def add(self, number: int) -> None:
        self.n += 1
        self.first = self.first or number

    def __str__(self) -> str:
        return f"{self.n} comparison{'s' * (self.n != 1)} (the first is record {self.first})"


def read_comparisons(
    file: Path,
    tokenizer: Tokenizer,
    width: int,
    say: Callable[[str], None],
    *,
    least: int = 2,
    context: int = 0,
    options: data.DataOptions = data.PLAIN,
) -> list[Ranked]:
    """Return the usable comparisons of a file or folder.

    These are left out, with one message per kind: rows longer than `width`, prompts that leave no room for a completion
    in `context` (0: no limit), rankings with only ties, and equal texts; `max_length_policy` shortens the prompt
    instead, by its beginning or its oldest turns, or the ends of completions. UserError for a file with too many rows
    that are no comparisons, and for fewer than `least` usable comparisons.
    """
    usable: list[Ranked] = []
    long, outside, tied, equal, empty, shorter = (RecordCount() for _ in range(6))
    policy = options.max_length_policy
    for number, item in data.read_comparisons(file, say, options):
        row = tokenise(item, tokenizer)
        if policy != "drop" and _excess(row, width, context) > 0:
            whole = row
            of_turns = policy == "turns"
            row = (
                with_newest_turns(item, tokenizer, width, context)
                if of_turns
                else shortened(row, width, context, policy)
            )
            if row != whole:
                shorter.add(number)
        if not all(item.completions):
            empty.add(number)
        if context and len(row.prompt) + max(map(len, row.completions)) > context:
            outside.add(number)
        elif len(row) > width:
            long.add(number)
        elif len(set(item.ranks)) < 2:
            tied.add(number)
        elif len(set(item.completions)) < 2:
            equal.add(number)
        else:
            usable.append(Ranked(row, item.ranks, item.labeller, number))
    if shorter.n:
        how = "without the oldest turns" if policy == "turns" else f"cut on the {policy}"
        say(f"{file}: {shorter} {how} to fit {width} tokens")
    if outside.n:
        say(f"{file}: {outside} left out: the model's context of {context} tokens does not hold prompt and completion")
    if long.n:
        say(f"{file}: {long} left out: longer than {width} tokens; raise width to keep them")
    if tied.n:
        say(f"{file}: {tied} left out: fewer than two distinct ranks")
    if equal.n:
        say(f"{file}: {equal} left out: all completions are the same text")
    if empty.n:
        say(f"{file}: {empty} kept with an empty completion: a reply that ends at once")
    if len(usable) < least:
        raise UserError(f"{file}: {len(usable)} usable comparisons; at least {least} are needed")
    return usable


def shortened(row: PromptRow, width: int, context: int, policy: data.LengthPolicy) -> PromptRow:
    """Return a row that fits `width` and `context` (0: no limit), or the row itself where it fits already or cannot.

    policy: "left" cuts the prompt's beginning, "right" the ends of the completions.
    """
    over = _excess(row, width, context)
    if over <= 0:
        return row
    replies = sum(map(len, row.completions))
    if policy == "left":
        return PromptRow(row.prompt[over:], row.completions) if over < len(row.prompt) else row
    room = min((width - len(row.prompt)) // len(row.completions), context - len(row.prompt) if context else replies)
    return PromptRow(row.prompt, [c[:room] for c in row.completions]) if room > 0 else row


def _excess(row: PromptRow, width: int, context: int) -> int:
    """Return the tokens by which a row is longer than `width`, or than what `context` (0: no limit) holds."""
    longest = max(map(len, row.completions))
    return max(len(row) - width, len(row.prompt) + longest - context if context else 0)


def with_newest_turns(item: Comparison, tokenizer: Tokenizer, width: int, context: int) -> PromptRow:
    """Return a comparison's row without the oldest turns of its prompt, as few as it takes to fit."""

    def row_of(messages: Sequence[Message]) -> PromptRow:
        return tokenise(replace(item, prompt=tuple(messages)), tokenizer)

    messages, _ = fit_turns(item.prompt, lambda m: m.role, lambda part: _excess(row_of(part), width, context) <= 0)
    return row_of(messages)


def tokenise(item: Comparison, tokenizer: Tokenizer) -> PromptRow:
    """Return the prompt and completions as ids, as the chat template writes them.

    A completion gets the end-of-turn token if its flag in `meta.ended` is true (default: all true).
    """
    return PromptRow(*render_completions(tokenizer, item.prompt, item.completions, item.meta.get("ended") or ()))


def split(items: list[Ranked], share: float, seed: int, held_out: Sequence[str]) -> tuple[list[Ranked], ...]:
    """Return comparisons for training, for validation (held-out prompts), and of held-out labellers."""
    inside = [item for item in items if item.labeller not in held_out]
    outside = [item for item in items if item.labeller in held_out]
    python_rng(seed, "reward-split").shuffle(inside)
    training, validation = by_prompt(inside, [tuple(item.row.prompt) for item in inside], round(len(inside) * share))
    return training, validation, outside


def batches(items: Sequence[Ranked], prompts: int, epochs: int, seed: int) -> list[list[Ranked]]:
    """Return all epochs' steps of `prompts` prompts each, in random order; prompts of similar length share a step.

    The prompts are shuffled; each group of 16 steps is sorted by length, cut into steps, and the steps are shuffled.
    Without sorting, a third of the tokens of `laptop` are padding.
    """
    steps: list[list[Ranked]] = []
    for epoch in range(epochs):
        rng = numpy_rng(seed, "reward-epoch", epoch)
        order = rng.permutation(len(items))
        for at in range(0, len(order), 16 * prompts):
            part = sorted(order[at : at + 16 * prompts].tolist(), key=lambda i: len(items[i].row))
            starts = rng.permutation(range(0, len(part), prompts)).tolist()
            steps.extend([items[i] for i in part[start : start + prompts]] for start in starts)
    return steps
