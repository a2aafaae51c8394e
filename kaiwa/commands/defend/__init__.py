"""kaiwa defend: what a defence does and costs, thresholds from benign texts, models trained to defend themselves.

A defence is a name such as delimiters+canary_filter, or a TOML file (docs/defend.md); kaiwa up --defence FILE runs it.
"""

from __future__ import annotations

from kaiwa.commands.options import run_group

COMMANDS = {
    "list": "the defences by name, with their options",
    "show": 'what a defence makes of a request: kaiwa defend show delimiters+sandwich --text "Hello"',
    "calibrate": "thresholds from benign texts: kaiwa defend calibrate FILE.toml --benign TEXTS.txt",
    "train": "a model that defends itself: kaiwa defend train TARGET.toml --model MODEL",
}


def main(words: list[str]) -> None:
    """Run a command on defences."""
    run_group("defend", COMMANDS, words)
