"""kaiwa feedback revoke: the end of a labeller's links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kaiwa.commands.feedback import open_store
from kaiwa.commands.options import Positional, arg, read_options


@dataclass(kw_only=True)
class Options:
    """Take a labeller's links to a batch back. What was judged stays."""

    batch: Positional[Annotated[str, arg(metavar="BATCH")]]
    name: Positional[Annotated[str, arg(metavar="NAME")]]


def main(words: list[str]) -> None:
    """Revoke the links."""
    options = read_options(Options, "kaiwa feedback revoke", words)
    n = open_store().revoke(options.batch, options.name)
    print(f"revoked {n} link{'s' * (n > 1)} of {options.name} to {options.batch}")
