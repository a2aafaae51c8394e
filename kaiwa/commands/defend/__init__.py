"""kaiwa defend: the effect and cost of a defence, thresholds from benign texts, models trained to resist injection.

A defence is a name such as delimiters+canary_filter, or a TOML file (docs/defend.md) that kaiwa up --defence FILE runs.
"""

from __future__ import annotations

from kaiwa.commands.options import run_group

COMMANDS = {
    "list": "list the defences by name, with their options",
    "show": 'show a request after a defence: kaiwa defend show delimiters+sandwich --text "Hello"',
    "calibrate": "set thresholds from benign texts: kaiwa defend calibrate FILE.toml --benign TEXTS.txt",
    "rates": "count the harmless texts that a defence refuses: kaiwa defend rates similarity --benign TEXTS.txt",
    "train": "train a model to resist injection: kaiwa defend train TARGET.toml --model MODEL",
}


def main(words: list[str]) -> None:
    """Run a command on defences."""
    run_group("defend", COMMANDS, words)
