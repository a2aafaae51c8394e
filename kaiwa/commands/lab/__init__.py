"""kaiwa lab: prompts, techniques, experiments."""

from __future__ import annotations

from kaiwa.commands.options import run_group

COMMANDS = {
    "compare": "two logs of the same items: kaiwa lab compare A.jsonl B.jsonl",
    "run": "an experiment: kaiwa lab run FILE.toml [--out DIR]",
    "plan": "what an experiment will ask, and the differences that it can find",
    "ladder": "zero-shot, few-shot, soft prompt, fine-tune: what each gains and costs",
    "search": "which of several prompts is best: chosen on dev items, graded on others",
    "judge": "two arms of a finished run before a model as judge, in both orders",
    "lint": "what is known to go wrong in a prompt or an experiment",
    "assignment": 'all techniques with controls on a small model: "do prompt engineering and confirm its effect"',
    "selftest": "the harness on answers whose truth is known",
    "tasks": "the built-in tasks and techniques",
}


def main(words: list[str]) -> None:
    """Run a command of the lab."""
    run_group("lab", COMMANDS, words)
