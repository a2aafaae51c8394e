"""kaiwa lab run: the run of an experiment."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kaiwa.commands.model_options import ModelOptions
from kaiwa.commands.options import Positional, arg
from kaiwa.commands.sampling_options import change_by_options, read_with_sampling

FIXED_SAMPLING = ("max_tokens", "seed")  # set by tasks, and by the experiment's seeds


@dataclass(kw_only=True)
class Options(ModelOptions):
    """Run an experiment (docs/lab.md).

    Arms are registered in DIR/plan.json before the first call. After a stop the same command continues; no request is
    sent twice (DIR/calls.jsonl holds every request and reply).
    """

    file: Positional[Annotated[Path, arg(metavar="FILE")]]  # FILE.toml or FILE.py
    out: Path | None = None  # default: runs/lab/NAME
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
    out = options.out or Path("runs") / "lab" / experiment.name
    if options.pilot:
        pilot = run_experiment(experiment.with_first_items(options.pilot), out / "pilot", options)
        print(pilot_text(pilot))
        for view in enter_ledger(pilot, str((out / "pilot").resolve()), out.parent / LEDGER):
            print(view.text())
        return
    print(plan_text(experiment))
    print_analysis(run_experiment(experiment, out, options), out)
