"""kaiwa redteam: attacks × defences on a system prompt."""

from __future__ import annotations

from kaiwa.commands.options import run_group

COMMANDS = {
    "run": "run the bench: kaiwa redteam run TARGET.toml [--attacks …] [--defences …] [--models …] [--out DIR]",
    "adapt": "let attackers adapt to each defence, with a budget of queries: success against queries",
    "targets": "list the example targets; with a name, print its file as a start for your own",
    "attacks": "list the attacks by family with their tags, and the transforms",
    "defences": "list the defences",
    "play": "play the password game in the terminal",
    "import": "read results of garak or promptfoo for comparison: kaiwa redteam import FILE",
    "train-defence": "train a model on a target to resist injection (kaiwa defend train)",
    "lessons": "write dialogues that teach a small model to use its system prompt",
    "selftest": "check the bench on models of known weaknesses",
}


def main(words: list[str]) -> None:
    """Run a command of the red team."""
    run_group("redteam", COMMANDS, words)
