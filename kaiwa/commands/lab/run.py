"""kaiwa lab run: the run of an experiment."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kaiwa.commands.model_options import ModelOptions
from kaiwa.commands.options import Positional, arg
from kaiwa.commands.sampling_options import change_by_options, read_with_sampling
from kaiwa.core.errors import UserError

FIXED_SAMPLING = ("max_tokens", "seed")  # set by tasks, and by the experiment's seeds


@dataclass(kw_only=True)
class Options(ModelOptions):
    """Run an experiment (docs/lab.md).

    Arms are registered in DIR/plan.json before the first call. After a stop the same command continues; no request is
    sent twice (DIR/calls.jsonl holds every request and reply).
    """

    file: Positional[Annotated[Path, arg(metavar="FILE")]]  # FILE.toml or FILE.py
    out: Path | None = None  # default: runs/lab/NAME
    budget_money: float = 0.0  # stop asking when so much money is spent (0: as in FILE), at the prices in FILE
    budget_tokens: int = 0  # stop asking when so many tokens are spent (0: as in FILE)
    pilot: int = 0  # only the first N items of each task, and the n needed for differences of 3 to 30 points


def main(words: list[str]) -> None:
    """Run the experiment or its pilot, and print the results."""
    options, changes = read_with_sampling(Options, "kaiwa lab run", words, FIXED_SAMPLING)
    from kaiwa.commands.lab.experiments import pilot_text, plan_text, print_analysis, run_experiment, with_model
    from kaiwa.lab.experiments.experiment_file import read_experiment
    from kaiwa.lab.experiments.ledger import FILE as LEDGER
    from kaiwa.lab.experiments.ledger import enter_ledger

    experiment = with_model(read_experiment(options.file), options)
    sampling = change_by_options(experiment.sampling, changes, FIXED_SAMPLING)
    experiment = dataclasses.replace(experiment, sampling=sampling)
    experiment = dataclasses.replace(experiment, budget=_budget(options, experiment.budget))
    out = options.out or Path("runs") / "lab" / experiment.name
    if options.pilot:
        pilot = run_experiment(experiment.with_first_items(options.pilot), out / "pilot", options)
        print(pilot_text(pilot))
        for view in enter_ledger(pilot, str((out / "pilot").resolve()), out.parent / LEDGER):
            print(view.text())
        return
    print(plan_text(experiment))
    print_analysis(run_experiment(experiment, out, options), out)


def _budget(options: Options, file_budget: tuple[float, int]) -> tuple[float, int]:
    """Return the budget of the command line, of the file where the command line has none. UserError below 0."""
    money, tokens = options.budget_money, options.budget_tokens
    if money < 0 or tokens < 0:
        raise UserError(f"--budget-money {money:g} --budget-tokens {tokens}: above 0, or 0 for the file's")
    return money or file_budget[0], tokens or file_budget[1]
