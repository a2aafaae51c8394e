"""kaiwa lab lint: a check of a prompt or an experiment for known faults."""

from __future__ import annotations

import dataclasses
import json
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kaiwa.commands.options import Positional, arg, read_options
from kaiwa.core.errors import UserError


@dataclass(kw_only=True)
class Options:
    """Check an experiment (.toml or .py with tasks and arms), or a prompt (.toml, .md). Exit code 1 for an error.

    Other files, and - for the standard input, are plain text or chat messages as JSON.
    """

    files: Positional[Annotated[tuple[Path, ...], arg(metavar="FILE…")]] = ()
    json: bool = False  # print the remarks as JSON: where, level, rule, text


def main(words: list[str]) -> None:
    """Print the remarks."""
    options = read_options(Options, "kaiwa lab lint", words or ["--help"])
    from kaiwa.lab.experiments.experiment_file import read_experiment
    from kaiwa.lab.experiments.lint import lint_experiment, lint_prompt, lint_text
    from kaiwa.lab.experiments.lint_text import read_texts
    from kaiwa.lab.tasks.prompt_file import read_prompt

    remarks = []
    for path in options.files:
        if str(path) == "-":
            texts = read_texts(Path("standard input"), sys.stdin.read())
            remarks += [remark for where, text in texts for remark in lint_text(text, where)]
        elif not path.is_file():
            raise UserError(f"{path}: no such file")
        elif _is_experiment(path):
            remarks += lint_experiment(read_experiment(path))
        elif path.suffix in (".toml", ".md"):
            remarks += lint_prompt(read_prompt(path), str(path))
        else:
            remarks += [remark for where, text in read_texts(path) for remark in lint_text(text, where)]
    if options.json:
        print(json.dumps([dataclasses.asdict(remark) for remark in remarks], ensure_ascii=False, indent=1))
    else:
        for remark in remarks:
            print(remark)
        print(f"{len(remarks)} remarks" if remarks else "nothing to remark")
    if any(remark.level == "error" for remark in remarks):
        sys.exit(1)


def _is_experiment(path: Path) -> bool:
    """Return whether the file holds an experiment, and not a prompt."""
    from kaiwa.lab.tasks.rows import read_text

    if path.suffix != ".toml" or not path.is_file():
        return path.suffix == ".py"
    try:
        return "tasks" in tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not TOML ({error})") from None
