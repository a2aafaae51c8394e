"""kaiwa lab advice: the table "which prompt advice replicates", rule by model by language."""

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
    """Ask models prompts that follow a piece of advice and prompts that go against it, on the same items.

    Prints and writes DIR/advice.md and advice.ja.md: helps, hurts, no difference within 10 points, or cannot tell.
    """

    models: str = ""  # names separated by commas: folders, GGUF files, names of the server at --url
    language: str = ""  # en or ja (default: both)
    n: int = 60  # items of each task
    out: Path = Path("runs/lab/advice")


def main(words: list[str]) -> None:
    """Run one experiment for each model and language, and print the table."""
    options = read_options(Options, "kaiwa lab advice", words)
    languages = (options.language,) if options.language else ("en", "ja")
    if not set(languages) <= {"en", "ja"}:
        raise UserError(f"--language {options.language!r}: en or ja")
    if options.n < 2:
        raise UserError(f"--n {options.n}: at least 2 items")
    from kaiwa.commands.lab.experiments import run_experiment, with_model
    from kaiwa.lab.experiments.advice import advice_experiment, advice_rows, markdown

    names = [name.strip() for name in (options.models or options.model).split(",")]
    analyses: list[tuple[str, str, Analysis]] = []
    for name in names:
        for language in languages:
            chosen = dataclasses.replace(options, model=name)
            experiment = with_model(advice_experiment(language, options.n), chosen)
            folder = options.out / f"{Path(name).name or 'model'}-{language}"
            analysis = run_experiment(experiment, folder, chosen)
            analyses.append((analysis.model, language, analysis))
    for suffix, language in (("", "en"), (".ja", "ja")):
        text = markdown(advice_rows(analyses, language))
        (options.out / f"advice{suffix}.md").write_text(text + "\n", encoding="utf-8")
    print(markdown(advice_rows(analyses)))
    print(f"table: {options.out / 'advice.md'}, {options.out / 'advice.ja.md'}")
