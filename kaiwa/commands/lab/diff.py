"""kaiwa lab diff: the prompts that changed since a git revision, before against now."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kaiwa.commands.model_options import ModelOptions
from kaiwa.commands.options import Positional, arg, read_options
from kaiwa.core.errors import UserError


@dataclass(kw_only=True)
class Options(ModelOptions):
    """Compare the prompts that changed since a git revision with what they were, on the same items.

    Exit code 1 where a change is not shown to be at most --points worse. Nothing changed: exit code 0, no call.
    """

    revision: Positional[Annotated[str, arg(metavar="REV")]]  # such as HEAD~1, main or a tag
    file: Positional[Annotated[Path, arg(metavar="FILE")]]  # the experiment's FILE.toml, tracked by git
    points: float = 3.0  # largest loss in points that does not matter
    junit: Path | None = None  # write one test case a changed arm as JUnit XML
    summary: Path | None = None  # write a Markdown table, such as for a pull request
    out: Path | None = None  # default: runs/lab/NAME-diff-REV


def main(words: list[str]) -> None:
    """Compare, print, and write the files."""
    options = read_options(Options, "kaiwa lab diff", words)
    if not options.points > 0:
        raise UserError(f"--points {options.points:g}: above 0; no test shows 'not worse by 0'")
    from kaiwa.commands.lab.experiments import plan_text, print_analysis, run_experiment, with_model
    from kaiwa.lab.experiments.experiment_file import read_experiment
    from kaiwa.lab.reports.revision import (
        changed_arms,
        changes_junit,
        changes_markdown,
        judge_changes,
        read_at_revision,
    )

    new = with_model(read_experiment(options.file), options)
    changed = changed_arms(with_model(read_at_revision(options.file, options.revision), options), new)
    if changed is None:
        print(f"{options.file}: no arm's prompt, technique or sampling changed since {options.revision}")
        return
    name = "".join(c if c.isalnum() or c in "-_." else "_" for c in options.revision)
    out = options.out or Path("runs") / "lab" / f"{new.name}-diff-{name}"
    print(plan_text(changed))
    analysis = run_experiment(changed, out, options)
    print_analysis(analysis, out)
    results = judge_changes(analysis, options.points)
    text = changes_markdown(results, options.revision, options.points)
    print(text)
    if options.summary is not None:
        options.summary.write_text(text, encoding="utf-8")
    if options.junit is not None:
        options.junit.write_text(changes_junit(results), encoding="utf-8")
    if not all(gate.passed for _, gate in results):
        sys.exit(1)
