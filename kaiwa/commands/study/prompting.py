"""kaiwa study prompting: the lecture's statements about prompts, each held, not held or undecided."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kaiwa.commands.model_options import ModelOptions
from kaiwa.commands.options import read_options
from kaiwa.core.errors import UserError

if TYPE_CHECKING:
    from kaiwa.lab.experiments.analysis import Analysis


@dataclass(kw_only=True)
class Options(ModelOptions):
    """Test 28 statements of the lecture about prompts in each language, with control arms.

    Writes DIR/statements.html (English and Japanese): held, did not hold, or cannot tell (n = …).
    """

    models: str = ""  # names separated by commas: folders, GGUF files, names of the server at --url
    language: str = ""  # en or ja (default: both)
    scale: float = 1.0  # 1: about 60 items an arm; 0.1 shows how it works
    out: Path = Path("runs/studies/prompting")


def main(words: list[str]) -> None:
    """Run the homework's experiment on every model, and print the statements."""
    options = read_options(Options, "kaiwa study prompting", words)
    languages = (options.language,) if options.language else ("en", "ja")
    if not set(languages) <= {"en", "ja"}:
        raise UserError(f"--language {options.language!r}: en or ja")
    if not options.scale > 0:
        raise UserError(f"--scale {options.scale}: above 0")
    from kaiwa.commands.console import table
    from kaiwa.commands.lab.experiments import run_experiment, with_model
    from kaiwa.lab.experiments.assignment import assignment
    from kaiwa.studies.prompting import TITLES, statements
    from kaiwa.studies.statements import WORDS, count_line, rows_of, write_page

    analyses: list[Analysis] = []
    for name in (name.strip() for name in (options.models or options.model).split(",")):
        chosen = dataclasses.replace(options, model=name)
        experiment = with_model(assignment(options.scale, languages), chosen)
        analyses.append(run_experiment(experiment, options.out / (Path(name).name or "model"), chosen))
    results = statements(analyses)
    for model in dict.fromkeys(result.model for result in results):
        own = [result for result in results if result.model == model]
        print(f"\n{model}: {count_line(own)}")
        print(table([list(WORDS["en"]["heads"]), *rows_of(own, "en")], lambda i: "<"))
    print(f"page: {write_page(results, TITLES, options.out)}")
