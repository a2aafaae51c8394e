"""kaiwa chat: talk to a model in the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro
from tyro.conf import AvoidSubcommands, OmitArgPrefixes

from kaiwa.catalog.entries import SMOLLM2, entry_by_name_or_path
from kaiwa.commands.options import Positional, arg, read_options
from kaiwa.text.sampling import Sampling

SAMPLING = Sampling(max_tokens=512, temperature=0.7)


@dataclass(kw_only=True)
class Options:
    """Talk to a model: one answer to stdout with -p, otherwise a conversation.

    MODEL is a name from `kaiwa models`, a model's folder, or a .gguf file. KAIWA_DEVICE in the environment: cuda, mps
    or cpu (default: the best there is).
    """

    model: Positional[Annotated[str, arg(metavar="MODEL")]] = SMOLLM2
    prompt: Annotated[str | None, tyro.conf.arg(aliases=["-p"])] = None  # one answer to this text
    system: str | None = None  # the system prompt
    # sampling parameters; the same --seed gives the same answer (default: a random seed)
    sampling: Annotated[Sampling, OmitArgPrefixes, AvoidSubcommands] = SAMPLING
    plan: bool = False  # print the device of each weight, bytes and expected tokens/s, and load nothing
    max_memory: str = ""  # memory limit of the weights: 8GB, or gpu=6GiB,cpu=16GiB to split a model between both


def main(words: list[str]) -> None:
    """Print the plan, one answer, or hold a conversation."""
    options = read_options(Options, "kaiwa chat", words, advice="a message goes after -p, in quotes")
    if options.plan:
        from kaiwa.commands.models.plan import print_plan

        print_plan(entry_by_name_or_path(options.model), "", options.max_memory)
        return
    from kaiwa.catalog.open_model import rest_idle_threads
    from kaiwa.commands.chat_terminal import chat

    rest_idle_threads()
    is_seeded = any(word.partition("=")[0] in ("--seed", "-seed") for word in words)
    seed = options.sampling.seed if is_seeded else None
    chat(
        options.model,
        options.prompt,
        options.system,
        sampling=options.sampling,
        seed=seed,
        max_memory=options.max_memory,
    )
