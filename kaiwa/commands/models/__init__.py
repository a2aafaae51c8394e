"""kaiwa models: the models on this machine; `models rm`, `models plan`."""

from __future__ import annotations

from kaiwa.commands.options import HELP, run_group

COMMANDS = {
    "list": "list the models on this machine, and recommended models to pull (also: kaiwa models)",
    "rm": "delete a pulled model and its cached files: kaiwa models rm NAME",
    "plan": "print the device of each weight, bytes, expected tokens/s: kaiwa models plan MODEL",
}


def main(words: list[str]) -> None:
    """List the models, or run one of the commands."""
    if words and words[0] in HELP:
        words = []
    elif not words:
        words = ["list"]
    run_group("models", COMMANDS, words)
