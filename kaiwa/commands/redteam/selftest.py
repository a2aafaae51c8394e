"""kaiwa redteam selftest: checks of the bench on models of known weaknesses."""

from __future__ import annotations

from dataclasses import dataclass

from kaiwa.commands.console import report_checks
from kaiwa.commands.options import read_options
from kaiwa.core.errors import UserError


@dataclass(kw_only=True)
class Options:
    """Check the bench on models of known weaknesses. Exit code 1 if a check fails."""

    trials: int = 1000
    seed: int = 0


def main(words: list[str]) -> None:
    """Run the checks and print them."""
    options = read_options(Options, "kaiwa redteam selftest", words)
    if options.trials < 100:
        raise UserError(f"--trials {options.trials}: at least 100 are needed to tell anything")
    from kaiwa.redteam.bench.selftest import selftest

    report_checks(selftest(options.trials, options.seed))
