"""kaiwa models: the models one can talk to; `models rm`, `models plan`."""

from __future__ import annotations

from kaiwa.commands.options import HELP, run_group

COMMANDS = {
    "list": "what one can talk to, and what is worth pulling (also: kaiwa models)",
    "rm": "delete a pulled model, and what was kept to load it faster: kaiwa models rm NAME",
    "plan": "which weights go where, bytes, expected tokens/s; loads nothing: kaiwa models plan MODEL",
}


def main(words: list[str]) -> None:
    """List the models, or run one of the commands."""
    if words and words[0] in HELP:
        words = []
    elif not words:
        words = ["list"]
    run_group("models", COMMANDS, words)
