"""kaiwa lab plan: an experiment's number of questions and detectable differences."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kaiwa.commands.options import Positional, arg, read_options

CONCURRENCY = 8  # as the commands that ask


@dataclass(kw_only=True)
class Options:
    """Print n and the detectable difference of every comparison, and one whole prompt of every arm; ask nothing."""

    file: Positional[Annotated[Path, arg(metavar="FILE")]]  # FILE.toml or FILE.py


def main(words: list[str]) -> None:
    """Print the plan."""
    options = read_options(Options, "kaiwa lab plan", words)
    from kaiwa.commands.lab.experiments import plan_text
    from kaiwa.lab.experiments.experiment_file import read_experiment
    from kaiwa.lab.experiments.preflight import check_first_calls, describe_prompts, planned_cost, planned_prompts

    experiment = read_experiment(options.file)
    check_first_calls(experiment)
    print(plan_text(experiment))
    cost = planned_cost(experiment)
    money = f", money {cost.money:.4g} at most" if cost.money else ""
    print(
        f"all rounds: {cost.calls:,} calls, about {cost.prompt_tokens:,} prompt tokens, at most"
        f" {cost.answer_tokens:,} answer tokens{money}; about {cost.minutes(CONCURRENCY):.1f} minutes at"
        f" {CONCURRENCY} calls side by side\n"
    )
    print(describe_prompts(planned_prompts(experiment)))
