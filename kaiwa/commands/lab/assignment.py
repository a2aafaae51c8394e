"""kaiwa lab assignment: an experiment with all techniques and their controls, as a report to hand in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kaiwa.commands.model_options import ModelOptions
from kaiwa.commands.options import read_options
from kaiwa.core.errors import UserError

QUICK_SCALE = 0.1


@dataclass(kw_only=True)
class Options(ModelOptions):
    """Run every technique with its control arms; write claims and measurements as a report to hand in."""

    out: Path = Path("runs/lab/assignment")
    quick: bool = False  # a tenth of the items, as a trial: too few for conclusions
    scale: float | None = None  # 1 is the full size (default)
    language: str = ""  # en or ja (default: both)
    plan: bool = False  # print n and the detectable difference of every arm, and stop


def main(words: list[str]) -> None:
    """Print the plan, run the experiment with the planted effects, print the results."""
    options = read_options(Options, "kaiwa lab assignment", words)
    languages = (options.language,) if options.language else ("en", "ja")
    if not set(languages) <= {"en", "ja"}:
        raise UserError(f"--language {options.language!r}: en or ja")
    scale = options.scale if options.scale is not None else QUICK_SCALE if options.quick else 1.0
    if not scale > 0:
        raise UserError(f"--scale {scale} must be above 0")
    from kaiwa.commands.lab.experiments import plan_text, print_analysis, run_experiment, with_model
    from kaiwa.lab.experiments.assignment import LIMITS, assignment

    experiment = with_model(assignment(scale, languages), options)
    print(plan_text(experiment))
    if not options.plan:
        print_analysis(run_experiment(experiment, options.out, options, planted=True), options.out, LIMITS)
