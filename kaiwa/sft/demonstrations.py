"""Demonstrations as token sequences with loss masks: the loss is on the assistant's tokens and its end of turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kaiwa.core.errors import UserError
from kaiwa.core.rng import python_rng
from kaiwa.text import data
from kaiwa.text.history import fit_conversation
from kaiwa.text.records import Conversation, Demonstration
from kaiwa.text.template import encode_with_specials, render, turn_end
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.train.held_out import by_prompt


@dataclass(frozen=True, slots=True)
class Sequences:
    """Token ids and loss masks, one pair per demonstration."""

    ids: list[list[int]]
    masks: list[list[float]]

    def __len__(self) -> int:
        return len(self.ids)


def read_demonstrations(
    file: Path,
    tokenizer: Tokenizer,
    width: int,
    *,
    user_weight: float,
    say: Callable[[str], None],
    least: int = 2,
    options: data.DataOptions = data.PLAIN,
) -> Sequences:
    """Return the demonstrations of a file or folder as ids and masks.

    Demonstrations longer than `width` tokens are left out and counted in one message, or cut (`max_length_policy`), and
    so are turns that the chat template does not write. A last reply that did not end (`meta.ended` false) is learned
    without an end of turn. user_weight: the loss weight of tokens that the assistant did not write. UserError for fewer
    than `least` usable demonstrations.
    """
    ids: list[list[int]] = []
    masks: list[list[float]] = []
    counts: Counter[str] = Counter()
    unmarked: Counter[str] = Counter()
    policy, has_turns = options.max_length_policy, False
    for _, example in data.read_demonstrations(file, say, options):
        has_turns = has_turns or bool(example.messages)
        tokens, mask, reasons = tokenise(example, tokenizer)
        if len(tokens) > width and policy == "turns" and example.messages:
            whole = len(example.messages)
            example = with_newest_turns(example, tokenizer, width)
            counts["shorter"] += len(example.messages) < whole
            tokens, mask, reasons = tokenise(example, tokenizer)
        unmarked.update(reasons)
        if len(tokens) > width:
            counts["long"] += 1
            parts = {"left": slice(-width, None), "right": slice(width)}
            part = parts.get(policy, slice(0, 0))  # "drop", and "turns" where the newest turn alone is too long
            tokens, mask = tokens[part], mask[part]
            if not any(mask):
                continue
        if any(mask):
            ids.append(tokens)
            masks.append([m if m else user_weight for m in mask] if user_weight else mask)
        else:
            counts["nothing"] += 1
    if has_turns and not turn_end(tokenizer):
        say(f"{file}: the chat template ends the assistant's turn without a token: the model does not learn to stop")
    for why, n in unmarked.items():
        say(f"{file}: {n} turns are not learned: {why}")
    if n := counts["shorter"]:
        say(f"{file}: {n} demonstrations longer than {width} tokens lose their oldest turns")
    if n := counts["nothing"]:
        say(f"{file}: {n} demonstrations left out: nothing in them is learned")
    if n := counts["long"]:
        fate = (
            "are left out; raise sft.width to keep them" if policy in ("drop", "turns") else f"are cut on the {policy}"
        )
        say(f"{file}: {n} demonstrations longer than {width} tokens {fate}")
    if len(ids) < least:
        raise UserError(f"{file}: {len(ids)} usable demonstrations; at least {least} are needed")
    return Sequences(ids, masks)


def tokenise(example: Demonstration, tokenizer: Tokenizer) -> tuple[list[int], list[float], list[str]]:
    """Return a demonstration's ids and mask, and why turns of it are not learned.

    A plain text is learned whole; names of special tokens in it are tokens, as in conversations rendered before.
    """
    if not example.messages:
        ids = encode_with_specials(tokenizer, example.text)
        ids = ids if ids and ids[-1] in tokenizer.stop_ids else [*ids, tokenizer.document_end_id]
        return ids, [1] * len(ids), []
    rendered = render(tokenizer, example.messages, tools=example.tools)
    ids, mask = rendered.ids, rendered.mask
    if example.meta.get("ended") is False:
        ids, mask = without_end(ids, mask, tokenizer.stop_ids)
    return ids, mask, list(rendered.unmarked.values())


def with_newest_turns(example: Demonstration, tokenizer: Tokenizer, width: int) -> Demonstration:
    """Return a demonstration without its oldest turns where it is longer than `width` tokens."""

    def size_of(messages: Conversation) -> int:
        return len(render(tokenizer, messages, tools=example.tools).ids)

    return replace(example, messages=fit_conversation(example.messages, size_of, width))


def without_end(ids: list[int], mask: list[float], ends: Sequence[int]) -> tuple[list[int], list[float]]:
    """Return a sequence without the end of its last learned turn, and without what follows."""
    last = max((i for i, m in enumerate(mask) if m), default=-1)
    return (ids[:last], mask[:last]) if last >= 0 and ids[last] in ends else (ids, mask)


def split(sequences: Sequences, share: float, seed: int) -> tuple[Sequences, Sequences]:
    """Return training and validation demonstrations, by a seeded shuffle; those of one prompt are on one side."""
    order = list(range(len(sequences)))
    python_rng(seed, "sft-split").shuffle(order)
    n = min(max(1, round(len(order) * share)), len(order) - 1) if share > 0 else 0  # at least one stays for training
    training, validation = by_prompt(order, [_prompt(sequences, i) for i in order], n)

    def take(numbers: list[int]) -> Sequences:
        return Sequences([sequences.ids[i] for i in numbers], [sequences.masks[i] for i in numbers])

    return take(training), take(validation)


def _prompt(sequences: Sequences, number: int) -> tuple[int, ...]:
    """Return the tokens before the first learned one; of a text learned whole, all its tokens."""
    ids, mask = sequences.ids[number], sequences.masks[number]
    start = mask.index(max(mask))
    return tuple(ids[: start or len(ids)])
