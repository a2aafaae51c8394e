"""kaiwa keys: keys with names for the server; `keys add`, `keys list`, `keys revoke`."""

from __future__ import annotations

from kaiwa.commands.options import HELP, run_group

COMMANDS = {
    "list": "list the keys and what each has used (also: kaiwa keys)",
    "add": "make a key and print it once: kaiwa keys add NAME",
    "revoke": "take a key back; its chats stay on the disk: kaiwa keys revoke NAME",
}


def main(words: list[str]) -> None:
    """List the keys, or run one of the commands."""
    if words and words[0] in HELP:
        words = []
    elif not words:
        words = ["list"]
    run_group("keys", COMMANDS, words)
