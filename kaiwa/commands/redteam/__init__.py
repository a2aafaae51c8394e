"""kaiwa redteam: attacks × defences on one's own system prompt."""

from __future__ import annotations

from kaiwa.commands.options import run_group

COMMANDS = {
    "run": "the bench: kaiwa redteam run TARGET.toml [--attacks …] [--defences …] [--models …] [--out DIR]",
    "targets": "the example targets; with a name, its file (to begin one's own from)",
    "attacks": "the attacks, by family, with their tags; the transforms",
    "defences": "the defences",
    "play": "the password game in the terminal",
    "import": "results of garak or promptfoo, beside one's own: kaiwa redteam import FILE",
    "train-defence": "a model trained on a target, to stand beside the untrained one (kaiwa defend train)",
    "lessons": "dialogues that teach a small model to use its system prompt",
    "selftest": "the bench on models whose weaknesses are known",
}


def main(words: list[str]) -> None:
    """Run a command of the red team."""
    run_group("redteam", COMMANDS, words)
