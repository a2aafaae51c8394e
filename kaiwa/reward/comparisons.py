"""Comparisons as token rows: prompt and completions, with the end of turn where the completion ended by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kaiwa.core.errors import UserError
from kaiwa.core.rng import numpy_rng, python_rng
from kaiwa.reward.packing import PromptRow
from kaiwa.text.records import Comparison, comparison, read_jsonl
from kaiwa.text.template import render
from kaiwa.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Ranked:
    row: PromptRow
    ranks: tuple[int, ...]
    labeller: str


def read_comparisons(
    file: Path, tokenizer: Tokenizer, width: int, say: Callable[[str], None], least: int = 2
) -> list[Ranked]:
    """A JSONL of comparisons. Rows longer than `width` and prompts with ties only are dropped, and counted."""
    kept: list[Ranked] = []
    too_long = tied = 0
    for raw in read_jsonl(file):
        item = comparison(raw)
        row = tokenise(item, tokenizer)
        if len(row) > width:
            too_long += 1
        elif len(set(item.ranks)) < 2:
            tied += 1
        else:
            kept.append(Ranked(row, item.ranks, item.labeller))
    if too_long:
        say(f"{file}: {too_long} comparisons longer than {width} tokens are left out; raise width to keep them")
    if tied:
        say(f"{file}: {tied} comparisons with nothing but ties say nothing and are left out")
    if len(kept) < least:
        raise UserError(f"{file}: {len(kept)} usable comparisons; at least {least} are needed")
    return kept


def tokenise(item: Comparison, tokenizer: Tokenizer) -> PromptRow:
    """`meta.ended` (one flag a completion; default: all ended) says which completions get the end of turn."""
    prompt = render(tokenizer, item.prompt, add_generation_prompt=True).ids
    ended: Sequence[bool] = item.meta.get("ended") or [True] * len(item.completions)
    completions = []
    for text, end in zip(item.completions, ended, strict=True):
        ids = tokenizer.encode(text)
        completions.append([*ids, tokenizer.eos_id] if end or not ids else ids)
    return PromptRow(prompt, completions)


def split(items: list[Ranked], share: float, seed: int, held_out: Sequence[str]) -> tuple[list[Ranked], ...]:
    """Training, validation by prompt, and everything by held-out labellers (never trained on)."""
    inside = [item for item in items if item.labeller not in held_out]
    outside = [item for item in items if item.labeller in held_out]
    python_rng(seed, "reward-split").shuffle(inside)
    n = round(len(inside) * share)
    return inside[n:], inside[:n], outside


def batches(items: Sequence[Ranked], prompts: int, epochs: int, seed: int) -> list[list[Ranked]]:
    """All epochs' steps of `prompts` prompts each, in random order; prompts of like length share a step.

    Of shuffled prompts, each 16 steps' worth is sorted by length and cut into steps, and these are shuffled again:
    without it a third of the tokens of `laptop` are padding.
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
