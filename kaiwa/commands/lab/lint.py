"""kaiwa lab lint: a check of a prompt or an experiment for known faults."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kaiwa.commands.options import Positional, arg, read_options
from kaiwa.core.errors import UserError


@dataclass(kw_only=True)
class Options:
    """Check an experiment (.toml or .py with tasks and arms), or a prompt (.toml, .md). Exit code 1 for an error."""

    files: Positional[Annotated[tuple[Path, ...], arg(metavar="FILE…")]] = ()


def main(words: list[str]) -> None:
    """Print the remarks."""
    options = read_options(Options, "kaiwa lab lint", words or ["--help"])
    from kaiwa.lab.experiments.experiment_file import read_experiment
    from kaiwa.lab.experiments.lint import lint_experiment, lint_prompt
    from kaiwa.lab.tasks.prompt_file import read_prompt

    remarks = []
    for path in options.files:
        if _is_experiment(path):
            remarks += lint_experiment(read_experiment(path))
        else:
            remarks += lint_prompt(read_prompt(path), str(path))
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
