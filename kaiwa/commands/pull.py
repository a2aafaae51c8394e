"""kaiwa pull: download of a model from a Hugging Face hub."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated

from kaiwa.commands.console import Bar
from kaiwa.commands.options import Positional, arg, read_options
from kaiwa.core.context import Progress
from kaiwa.core.home import home


@dataclass(kw_only=True)
class Options:
    """Download a model from a Hugging Face hub into KAIWA_HOME/models: safetensors or GGUF, every byte checked.

    After a stop, the same command continues the download. HF_ENDPOINT in the environment names another hub; HF_TOKEN
    is used for gated and private models.
    """

    model: Positional[Annotated[str, arg(metavar="ORG/NAME[:BRANCH]")]]
    file: str = ""  # which GGUF file, such as '*Q4_K_M*'
    endpoint: str = ""  # another hub's address


def main(words: list[str]) -> None:
    """Download the model and print its folder."""
    options = read_options(Options, "kaiwa pull", words)
    from kaiwa.catalog.entries import read_entry
    from kaiwa.hub.pull import PullOutput, pull

    bar = Bar()

    def show(done: int, total: int, name: str) -> None:
        note = f"{name} {done / 1e6:,.1f} of {total / 1e6:,.1f} MB"
        bar.show(Progress("pull", done // 1024, max(1, total // 1024), note))

    talk = PullOutput(line=bar.say, bar=show)
    folder = pull(options.model, home() / "models", endpoint=options.endpoint, pattern=options.file, output=talk)
    if bar.live:
        print(file=sys.stderr)
    entry = read_entry(folder, options.model)
    embeds = entry is not None and not entry.writes
    print(f"{folder}\n{'serve its vectors: kaiwa up' if embeds else f'talk to it: kaiwa chat {options.model}'}")
