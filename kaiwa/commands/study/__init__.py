"""kaiwa study: experiments across stages."""

from __future__ import annotations

from kaiwa.commands.options import run_group

COMMANDS = {
    "rlhf": "test InstructGPT's claims: replicated or not",
    "icl": "measure in-context learning by model size and number of demonstrations",
    "cot": "measure chain of thought in a small model, with controls",
    "prompting": "test the lecture's statements about prompts: held, did not hold, cannot tell",
    "defences": "test the lecture's statements about attacks and defences",
}


def main(words: list[str]) -> None:
    """Run a study."""
    run_group("study", COMMANDS, words)
