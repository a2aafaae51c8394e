"""kaiwa study: experiments across stages."""

from __future__ import annotations

from kaiwa.commands.options import run_group

COMMANDS = {
    "rlhf": "InstructGPT's claims, each replicated or not",
    "icl": "in-context learning by size of model and number of demonstrations",
    "cot": "chain of thought at laptop size, with its controls",
}


def main(words: list[str]) -> None:
    """Run a study."""
    run_group("study", COMMANDS, words)
