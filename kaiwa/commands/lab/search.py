"""kaiwa lab search: search for the best of several prompts, chosen on dev items and graded on test items."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from kaiwa.commands.model_options import ModelOptions
from kaiwa.commands.options import Positional, arg, read_options
from kaiwa.core.errors import UserError

if TYPE_CHECKING:
    from kaiwa.text.chat_model import OpenedModel


@dataclass(kw_only=True)
class Options(ModelOptions):
    """Search for the best prompt. The experiment has one task; its arms are candidates, the first arm the baseline.

    Candidates are compared on dev items (the share --share); the winner is compared with the baseline on the test
    items, which are not used for the choice.
    """

    file: Positional[Annotated[Path, arg(metavar="FILE")]]  # FILE.toml or FILE.py
    share: float = 0.5  # share of the dev items
    out: Path | None = None  # default: runs/lab/NAME-search


def main(words: list[str]) -> None:
    """Search, and print the winner with its verdict on the test items."""
    options = read_options(Options, "kaiwa lab search", words)
    if not 0 < options.share < 1:
        raise UserError(f"--share {options.share}: give the dev items' share, between 0 and 1")
    from kaiwa.commands.lab.experiments import budget_of, open_server, with_model
    from kaiwa.lab.experiments.experiment_file import read_experiment
    from kaiwa.lab.experiments.ledger import FILE as LEDGER
    from kaiwa.lab.experiments.ledger import enter_ledger
    from kaiwa.lab.experiments.prompt_search import describe_search, search_prompt
    from kaiwa.lab.reports.experiment_report import write_report

    experiment = with_model(read_experiment(options.file), options)

    budget = budget_of(experiment)

    def open_named(name: str) -> OpenedModel:
        return open_server(experiment, name, options, budget)

    out = options.out or Path("runs") / "lab" / f"{experiment.name}-search"
    result = search_prompt(experiment, open_named, out, options.share)
    print(describe_search(result))
    for view in enter_ledger(result.test, str((out / "test").resolve()), out.parent / LEDGER):
        print(view.text())
    print(f"report: {write_report(result.test, out / 'test')}")
