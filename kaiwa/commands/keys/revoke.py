"""kaiwa keys revoke: the end of a key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kaiwa.commands.options import Positional, arg, read_options


@dataclass(kw_only=True)
class Options:
    """Take a key back: the server refuses it from now on. Its chats stay in KAIWA_HOME/keys/NAME."""

    name: Positional[Annotated[str, arg(metavar="NAME")]]


def main(words: list[str]) -> None:
    """Revoke the key."""
    options = read_options(Options, "kaiwa keys revoke", words)
    from kaiwa.core.home import home
    from kaiwa.serve.http.keys import FILE, NamedKeys

    NamedKeys(home() / FILE).revoke(options.name)
    print(f"revoked {options.name}; its chats are still in {home() / 'keys' / options.name}")
