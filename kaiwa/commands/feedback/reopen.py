"""kaiwa feedback reopen: a closed batch opened again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kaiwa.commands.feedback import open_store
from kaiwa.commands.options import Positional, arg, read_options


@dataclass(kw_only=True)
class Options:
    """Open a closed batch again: items are given out, and answers can be changed."""

    batch: Positional[Annotated[str, arg(metavar="BATCH")]]


def main(words: list[str]) -> None:
    """Open the batch."""
    options = read_options(Options, "kaiwa feedback reopen", words)
    open_store().reopen_batch(options.batch)
    print(f"{options.batch} is open")
