"""The prompts of rollouts: reading, rendering, and their order as a function of seed and update."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kaiwa.catalog.trainable import read_tokenizer
from kaiwa.core.context import Context
from kaiwa.core.errors import UserError
from kaiwa.core.rng import numpy_rng
from kaiwa.rlhf.config import RLHFConfig
from kaiwa.rlhf.memory import read_config
from kaiwa.text import data
from kaiwa.text.history import fit_conversation
from kaiwa.text.records import Conversation
from kaiwa.text.template import render
from kaiwa.tokenizer.tokenizer import Tokenizer


def read_prompts(
    file: Path,
    tokenizer: Tokenizer,
    most: int,
    say: Callable[[str], None],
    options: data.DataOptions = data.PLAIN,
) -> list[tuple[tuple[int, ...], Conversation]]:
    """Return (ids, messages) of every prompt of at most `most` tokens, in file order. UserError if there are none.

    The answers of demonstrations and preferences are left out. With `max_length_policy` "left" a long prompt loses its
    beginning, with "turns" its oldest turns.
    """
    if most < 1:
        raise UserError(f"max_tokens is {1 - most} too many: the context must hold the prompt and the reply")
    fitting: list[tuple[tuple[int, ...], Conversation]] = []
    long: list[int] = []
    number = shorter = 0
    for number, messages in data.read_prompts(file, say, options):
        ids = tuple(render(tokenizer, messages, add_generation_prompt=True).ids)
        if len(ids) > most and options.max_length_policy == "turns":
            whole = len(messages)
            messages = newest_turns(messages, tokenizer, most)
            shorter += len(messages) < whole
            ids = tuple(render(tokenizer, messages, add_generation_prompt=True).ids)
        if len(ids) > most:
            long.append(number)
        if len(ids) <= most or options.max_length_policy == "left":
            fitting.append((ids[-most:], messages))
    if shorter:
        say(f"{file}: {shorter} prompts longer than {most} tokens lose their oldest turns")
    if long:
        notice = f"{file}: {len(long)} of {number} prompts are longer than {most} tokens, the first is record {long[0]}"
        if not fitting:
            raise UserError(f"{notice}; none is left: give shorter prompts, or a smaller max_tokens")
        cut = options.max_length_policy == "left"
        say(f"{notice}; they {'lose their beginning' if cut else 'are left out'} (the context must hold the reply too)")
    return fitting


def newest_turns(messages: Conversation, tokenizer: Tokenizer, most: int) -> Conversation:
    """Return a prompt without its oldest turns where it has more than `most` tokens."""
    return fit_conversation(messages, lambda m: len(render(tokenizer, m, add_generation_prompt=True).ids), most)


def prompt_order(n: int, seed: int, start: int, count: int) -> list[int]:
    """Return the numbers of `count` prompts from position `start` on; each pass over all n prompts has a new order."""
    chosen = []
    orders: dict[int, list[int]] = {}
    for i in range(start, start + count):
        epoch, at = divmod(i, n)
        if epoch not in orders:
            orders = {epoch: numpy_rng(seed, "rlhf-prompts", epoch).permutation(n).tolist()}
        chosen.append(orders[epoch][at])
    return chosen


def prompts_that_fit(
    config: RLHFConfig, ctx: Context, policy: Path, reward: Path | None, prompts: Path
) -> list[tuple[tuple[int, ...], Conversation]]:
    """Return the prompts that leave room for a reply in the contexts of the policy and of the reward model."""
    room = min(read_config(path).max_length for path in (policy, reward) if path is not None)
    return read_prompts(prompts, read_tokenizer(policy), room - config.max_tokens, ctx.say, config.data)
