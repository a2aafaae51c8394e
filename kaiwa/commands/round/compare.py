"""kaiwa round compare: the newest policy against earlier ones."""

from __future__ import annotations

from dataclasses import dataclass

from kaiwa.commands.options import read_options
from kaiwa.commands.round import RoundOptions, open_rounds
from kaiwa.commands.round.status import main as print_status


@dataclass(kw_only=True)
class Options(RoundOptions):
    """Compare the newest round's policy with the round before, the first round and the SFT model, blind, on held-out
    prompts.

    The village's judge decides, or people (--people, and always without a village): the first call queues the answers
    as a batch for evaluation, a later one counts its rankings.
    """

    people: bool = False


def main(words: list[str]) -> None:
    """Compare and print the rounds."""
    options = read_options(Options, "kaiwa round compare", words)
    rounds, ctx, store = open_rounds(options)
    from kaiwa.rounds.compare import compare_by_people, compare_round

    if options.people or rounds.village is None:
        batch, evaluation = compare_by_people(rounds, ctx, store, seed=options.seed)
        if evaluation is None:
            n, _ = store.count_items(batch)
            print(f"{batch.name}: {n} prompts to rank blind on the page Label; then the same command again")
            return
    else:
        compare_round(rounds, ctx, seed=options.seed)
    print_status([str(options.run)])
