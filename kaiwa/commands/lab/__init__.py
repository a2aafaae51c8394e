"""kaiwa lab: prompts, techniques, experiments."""

from __future__ import annotations

from kaiwa.commands.options import run_group

COMMANDS = {
    "compare": "compare two logs of the same items: kaiwa lab compare A.jsonl B.jsonl",
    "run": "run an experiment: kaiwa lab run FILE.toml [--out DIR]",
    "plan": "print an experiment's number of questions and detectable differences",
    "diff": "compare prompts that changed since a git revision: kaiwa lab diff REV FILE.toml",
    "ladder": "compare gain and cost of zero-shot, few-shot, soft prompt and fine-tuning",
    "search": "find the best of several prompts: chosen on dev items, graded on test items",
    "judge": "let a model judge two arms of a finished run, in both orders",
    "lint": "check a prompt or an experiment for known faults",
    "advice": 'the table "which prompt advice replicates": rule by model by language',
    "assignment": 'run all techniques with controls: "do prompt engineering and confirm its effect"',
    "selftest": "check the harness on answers of known truth",
    "tasks": "list the built-in tasks and techniques",
}


def main(words: list[str]) -> None:
    """Run a command of the lab."""
    run_group("lab", COMMANDS, words)
