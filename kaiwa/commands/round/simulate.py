"""kaiwa round simulate: whole rounds with the village's labellers."""

from __future__ import annotations

from dataclasses import dataclass

from kaiwa.commands.options import read_options
from kaiwa.commands.round import RoundOptions
from kaiwa.commands.round.compare import main as compare
from kaiwa.commands.round.new import main as new
from kaiwa.commands.round.train import main as train
from kaiwa.core.errors import UserError


@dataclass(kw_only=True)
class Options(RoundOptions):
    """Turn rounds of a build with the village's labellers: new, train, compare, until there are so many.

    After a stop, the same command goes on.
    """

    rounds: int = 3  # rounds in all, those that are there included
    k: int = 4
    mix: str = ""  # as of `kaiwa round new`
    n: int = 0  # prompts of a round (0: 1500)


def main(words: list[str]) -> None:
    """Turn the rounds and print each."""
    options = read_options(Options, "kaiwa round simulate", words)
    if options.rounds < 1:
        raise UserError(f"--rounds {options.rounds}: 1 or more")
    from kaiwa.rounds.folder import RoundsOf

    rounds = RoundsOf.open(options.run)
    common = [str(options.run), f"--seed={options.seed}", f"--threads={options.threads}"]
    common += [f"--device={options.device}"] if options.device else []
    sampling = [
        f"--k={options.k}",
        f"--n={options.n}",
        "--simulated",
        *([f"--mix={options.mix}"] if options.mix else []),
    ]
    for number in range(1, options.rounds + 1):
        if rounds.artifact(number, "outputs") is None:
            new([*common, *sampling])
        if rounds.artifact(number, "policy") is None:
            train(common)
        if rounds.artifact(number, "evaluation") is None:
            compare(common)
