"""kaiwa round train: the reward model on all labels, then the policy."""

from __future__ import annotations

from dataclasses import dataclass

from kaiwa.commands.options import read_options
from kaiwa.commands.round import RoundOptions, open_rounds


@dataclass(kw_only=True)
class Options(RoundOptions):
    """Train the newest round: a reward model on the labels of all rounds, then a policy, both from the SFT model.

    The stages' settings are the build's. After a stop, the same command goes on with the same labels; labels that came
    meanwhile are for the next round.
    """


def main(words: list[str]) -> None:
    """Train and print what to do next."""
    options = read_options(Options, "kaiwa round train", words)
    rounds, ctx, store = open_rounds(options)
    from kaiwa.rounds.train import train_round

    policy = train_round(rounds, ctx, store, seed=options.seed)
    print(f"{policy.path}: round {rounds.newest()} is trained; next: kaiwa round compare {options.run}")
