"""kaiwa lab selftest: checks of the harness on answers of known truth."""

from __future__ import annotations

from dataclasses import dataclass

from kaiwa.commands.console import report_checks
from kaiwa.commands.options import read_options
from kaiwa.core.errors import UserError


@dataclass(kw_only=True)
class Options:
    """Check the harness on answers of known truth: false alarms, power, coverage. Exit code 1 if a check fails."""

    trials: int = 1000
    seed: int = 0


def main(words: list[str]) -> None:
    """Run the checks and print them."""
    options = read_options(Options, "kaiwa lab selftest", words)
    if options.trials < 50:
        raise UserError(f"--trials {options.trials}: at least 50 are needed to tell anything")
    from kaiwa.lab.experiments.selftest import selftest

    report_checks(selftest(options.trials, options.seed))
