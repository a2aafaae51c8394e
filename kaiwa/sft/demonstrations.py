"""Demonstrations as token sequences with loss masks: the loss is on the assistant's tokens and its end of turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kaiwa.core.errors import UserError
from kaiwa.core.rng import python_rng
from kaiwa.text.records import demonstration, read_jsonl
from kaiwa.text.template import render, turn_end
from kaiwa.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Sequences:
    """Token ids and loss masks, one pair per demonstration."""

    ids: list[list[int]]
    masks: list[list[float]]

    def __len__(self) -> int:
        return len(self.ids)


def read_demonstrations(
    file: Path, tokenizer: Tokenizer, width: int, *, user_weight: float, say: Callable[[str], None], least: int = 2
) -> Sequences:
    """Return the demonstrations of a JSONL of {"messages"} as ids and masks.

    Demonstrations longer than `width` tokens are left out and counted in one message, and so are turns that the chat
    template does not write. A last reply that did not end (`meta.ended` false) is learned without an end of turn.
    user_weight: the loss weight of tokens that the assistant did not write. UserError for fewer than `least` usable
    demonstrations.
    """
    ids: list[list[int]] = []
    masks: list[list[float]] = []
    too_long = nothing = 0
    unmarked: Counter[str] = Counter()
    for row in read_jsonl(file):
        example = demonstration(row)
        rendered = render(tokenizer, example.messages)
        tokens, mask = rendered.ids, rendered.mask
        unmarked.update(rendered.unmarked.values())
        if example.meta.get("ended") is False:
            tokens, mask = without_end(tokens, mask, tokenizer.stop_ids)
        if len(tokens) > width:
            too_long += 1
        elif any(mask):
            ids.append(tokens)
            masks.append([m if m else user_weight for m in mask] if user_weight else mask)
        else:
            nothing += 1
    if tokenizer.chat_template is not None and not turn_end(tokenizer):
        say(f"{file}: the chat template ends the assistant's turn without a token: the model does not learn to stop")
    for why, n in unmarked.items():
        say(f"{file}: {n} turns are not learned: {why}")
    if nothing:
        say(f"{file}: {nothing} demonstrations left out: nothing in them is learned")
    if too_long:
        say(f"{file}: {too_long} demonstrations longer than {width} tokens are left out; raise sft.width to keep them")
    if len(ids) < least:
        raise UserError(f"{file}: {len(ids)} usable demonstrations; at least {least} are needed")
    return Sequences(ids, masks)


def without_end(ids: list[int], mask: list[float], ends: Sequence[int]) -> tuple[list[int], list[float]]:
    """Return a sequence without the end of its last learned turn, and without what follows."""
    last = max((i for i, m in enumerate(mask) if m), default=-1)
    return (ids[:last], mask[:last]) if last >= 0 and ids[last] in ends else (ids, mask)


def split(sequences: Sequences, share: float, seed: int) -> tuple[Sequences, Sequences]:
    """Return training and validation demonstrations, by a seeded shuffle."""
    order = list(range(len(sequences)))
    python_rng(seed, "sft-split").shuffle(order)
    n = min(max(1, round(len(order) * share)), len(order) - 1) if share > 0 else 0  # at least one stays for training

    def take(numbers: list[int]) -> Sequences:
        return Sequences([sequences.ids[i] for i in numbers], [sequences.masks[i] for i in numbers])

    return take(order[n:]), take(order[:n])
