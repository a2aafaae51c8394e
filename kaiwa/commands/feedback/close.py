"""kaiwa feedback close: the end of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kaiwa.commands.feedback import open_store
from kaiwa.commands.options import Positional, arg, read_options


@dataclass(kw_only=True)
class Options:
    """Give out no more items of a batch. Items that are open may still be finished; answers can no longer be
    changed.
    """

    batch: Positional[Annotated[str, arg(metavar="BATCH")]]


def main(words: list[str]) -> None:
    """Close the batch."""
    options = read_options(Options, "kaiwa feedback close", words)
    open_store().close_batch(options.batch)
    print(f"{options.batch} is closed")
