"""kaiwa round new: sample outputs from a mix of policies and queue them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kaiwa.commands.options import read_options
from kaiwa.commands.round import RoundOptions, open_rounds, round_config
from kaiwa.core.errors import UserError


@dataclass(kw_only=True)
class Options(RoundOptions):
    """Begin a round of a finished build: K outputs to each prompt become a batch to rate and rank.

    The paper's outputs were mostly of supervised policies, and some of PPO policies. In a mix "policy" is the policy of
    the round before, in the first round the build's last one. After a stop, the same command goes on.
    """

    k: int = 4  # outputs of a prompt (the paper: 4 to 9)
    prompts: Path | None = (
        None  # a file of prompts; a tenth is kept to compare on (default: the village writes new ones)
    )
    mix: str = ""  # NAME=WEIGHT,… of the build's models (default: sft=3,policy=1), as sft=3,ppo_ptx=1
    labels: int = 1  # labellers wanted for each item
    n: int = 0  # prompts (0: 200, with --simulated 1500)
    simulated: bool = False  # the village's labellers do the work of people at once


def main(words: list[str]) -> None:
    """Begin the round and print what to do next."""
    options = read_options(Options, "kaiwa round new", words)
    rounds, ctx, store = open_rounds(options)
    from kaiwa.rounds.folder import RoundConfig
    from kaiwa.rounds.sample import new_round, next_number
    from kaiwa.rounds.simulate import label_batch, village_labellers

    if options.simulated and options.prompts is not None:
        raise UserError("--simulated: the village's labellers know the village's prompts only; leave --prompts out")
    number = next_number(rounds)
    config = round_config(
        number, k=options.k, labels=options.labels, mix=options.mix, n=options.n, simulated=options.simulated
    )
    assert isinstance(config, RoundConfig)
    batch = new_round(rounds, config, ctx, store, prompts=options.prompts, seed=options.seed)
    n, _ = store.count_items(batch)
    print(f"round {number} of {options.run}: {n:,} prompts with {batch.k} outputs each, batch {batch.name}")
    if options.simulated:
        people = village_labellers(rounds, options.seed)
        n_labels = label_batch(store, batch, rounds.world()[0], people, ctx, seed=options.seed)
        print(f"{n_labels:,} rankings by {len(people)} labellers of the village; next: kaiwa round train {options.run}")
    else:
        print(f"next: kaiwa feedback invite {batch.name} NAME, or the page Label; then kaiwa round train {options.run}")
