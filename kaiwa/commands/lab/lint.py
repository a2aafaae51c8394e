"""kaiwa lab lint: a check of a prompt or an experiment for known faults."""

from __future__ import annotations

import dataclasses
import json
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from kaiwa.commands.model_options import ModelOptions
from kaiwa.commands.options import Positional, arg, read_options
from kaiwa.core.errors import UserError

if TYPE_CHECKING:
    from kaiwa.lab.experiments.lint import Remark


@dataclass(kw_only=True)
class Options(ModelOptions):
    """Check an experiment (.toml or .py with tasks and arms), or a prompt (.toml, .md). Exit code 1 for an error.

    Other files, Markdown without a prompt's headings, and - for the standard input, are plain text or chat messages as
    JSON. `--verify` asks the model.
    """

    files: Positional[Annotated[tuple[Path, ...], arg(metavar="FILE…")]] = ()
    json: bool = False  # print the remarks as JSON: where, level, rule, text
    sarif: Path | None = None  # file for the remarks as SARIF 2.1.0
    fix: bool = False  # write the files anew where a rule's fault can be mended without judgement
    # for an experiment: test each fix on its items against the prompt as written, paired
    verify: bool = False


def main(words: list[str]) -> None:
    """Print the remarks; mend or verify on demand."""
    options = read_options(Options, "kaiwa lab lint", words or ["--help"])
    if options.fix:
        for path in options.files:
            _fix(path)
    remarks = [remark for path in options.files for remark in _remarks(path)]
    if options.sarif is not None:
        from kaiwa.lab.reports.sarif import sarif

        options.sarif.write_text(
            json.dumps(sarif(remarks, [str(path) for path in options.files]), ensure_ascii=False, indent=1), "utf-8"
        )
    if options.json:
        print(json.dumps([dataclasses.asdict(remark) for remark in remarks], ensure_ascii=False, indent=1))
    else:
        for remark in remarks:
            print(remark)
        print(f"{len(remarks)} remarks" if remarks else "nothing to remark")
    if options.verify:
        _verify(options)
    if any(remark.level == "error" for remark in remarks):
        sys.exit(1)


def _remarks(path: Path) -> list[Remark]:
    """Return the remarks on one file, each with the file's name."""
    from kaiwa.lab.experiments.experiment_file import read_experiment
    from kaiwa.lab.experiments.lint import lint_experiment, lint_prompt, lint_text
    from kaiwa.lab.experiments.lint_text import read_texts
    from kaiwa.lab.tasks.prompt_file import has_elements, read_prompt
    from kaiwa.lab.tasks.rows import read_text

    content = sys.stdin.read() if str(path) == "-" else ""
    if str(path) == "-":
        texts = read_texts(Path("standard input"), content)
        remarks = [remark for where, text in texts for remark in lint_text(text, where)]
    elif not path.is_file():
        raise UserError(f"{path}: no such file")
    elif _is_experiment(path):
        remarks = lint_experiment(read_experiment(path))
    elif path.suffix == ".toml" or (path.suffix == ".md" and has_elements(read_text(path))):
        remarks = lint_prompt(read_prompt(path), str(path))
    else:
        remarks = [remark for where, text in read_texts(path) for remark in lint_text(text, where)]
    if not remarks:
        return []
    whole = content or read_text(path)
    return [remark.placed("standard input" if str(path) == "-" else str(path), whole) for remark in remarks]


def _fix(path: Path) -> None:
    """Mend one file in its place, and say which rules were mended. UserError for the standard input and for code."""
    from kaiwa.core.artifact import write_atomic
    from kaiwa.lab.experiments.lint_fixes import fix_text

    if str(path) == "-" or path.suffix == ".py":
        raise UserError(f"--fix {path}: only files of text are mended")
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--fix {path}: cannot be read as UTF-8 ({error})") from None
    after, rules = fix_text(text)
    if rules:
        write_atomic(path, after)
        print(f"{path}: mended {', '.join(rules)}", file=sys.stderr)


def _verify(options: Options) -> None:
    """Run the fixes of the first experiment among the files against its prompts as written."""
    from kaiwa.commands.lab.experiments import run_experiment, with_model
    from kaiwa.lab.experiments.experiment_file import read_experiment
    from kaiwa.lab.experiments.verify import verdict_lines, verification

    path = next((path for path in options.files if _is_experiment(path)), None)
    if path is None:
        raise UserError("--verify needs an experiment with items among the files: FILE.toml with [[tasks]]")
    experiment = with_model(verification(read_experiment(path)), options)
    analysis = run_experiment(experiment, Path("runs") / "lab" / experiment.name, options)
    for line in verdict_lines(analysis.findings):
        print(line)


def _is_experiment(path: Path) -> bool:
    """Return whether the file holds an experiment, and not a prompt."""
    from kaiwa.lab.tasks.rows import read_text

    if path.suffix != ".toml" or not path.is_file():
        return path.suffix == ".py"
    try:
        return "tasks" in tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not TOML ({error})") from None
