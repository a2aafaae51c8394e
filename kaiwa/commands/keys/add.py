"""kaiwa keys add: a new key for the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kaiwa.commands.options import Positional, arg, read_options


@dataclass(kw_only=True)
class Options:
    """Make a key with a name and print it. It is printed once, and only its digest is kept.

    Each key has its own chats, its own share of answers under way, and its own count of tokens. A running server that
    began with keys takes it at once.
    """

    name: Positional[Annotated[str, arg(metavar="NAME")]]
    train: bool = False  # it may also upload files and start fine-tuning jobs; it sees its own alone


def main(words: list[str]) -> None:
    """Add the key."""
    options = read_options(Options, "kaiwa keys add", words)
    from kaiwa.core.home import home
    from kaiwa.serve.http.keys import FILE, NamedKeys

    keys = NamedKeys(home() / FILE)
    first = not keys.all()
    print(keys.add(options.name, trains=options.train))
    if first:
        print("the first key: a server that runs now must be started again to ask for keys")
