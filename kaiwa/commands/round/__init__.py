"""kaiwa round: steps 2 and 3 of InstructGPT again: outputs, labels, reward model, policy, comparison."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from kaiwa.commands.options import Positional, arg, run_group

if TYPE_CHECKING:
    from kaiwa.core.context import Context
    from kaiwa.feedback.batch_store import BatchStore
    from kaiwa.rounds.folder import RoundsOf

COMMANDS = {
    "new": "sample outputs of a mix of policies and queue them to be labelled: kaiwa round new RUN",
    "status": "list the rounds: labels, the reward model's accuracy and ceiling, win rates",
    "train": "train the newest round's reward model on all labels, then its policy",
    "compare": "the newest policy against the round before and the SFT model, on held-out prompts",
    "simulate": "whole rounds with the village's labellers: kaiwa round simulate RUN --rounds 3",
}


@dataclass(kw_only=True)
class RoundOptions:
    """Options of every command of rounds."""

    run: Positional[Annotated[Path, arg(metavar="RUN")]]  # a build's folder, such as runs/laptop
    seed: int = 0
    threads: int = 0  # 0: all cores
    device: str = ""  # cuda, cuda:1, mps or cpu (default: KAIWA_DEVICE, else the best there is)


def main(words: list[str]) -> None:
    """Run one of the commands."""
    run_group("round", COMMANDS, words)


def open_rounds(options: RoundOptions) -> tuple[RoundsOf, Context, BatchStore]:
    """Return the build's rounds, a context for this terminal, and the store of labels."""
    from kaiwa.commands.console import make_context
    from kaiwa.commands.feedback import open_store
    from kaiwa.rounds.folder import RoundsOf

    rounds = RoundsOf.open(options.run)
    return rounds, make_context(seed=options.seed, threads=options.threads, device=options.device), open_store()


def round_config(number: int, *, k: int, labels: int, mix: str, n: int, simulated: bool) -> object:
    """Return a round's configuration from the words of the command line."""
    from kaiwa.rounds.folder import NEWEST, RoundConfig

    return RoundConfig(
        number=number,
        k=k,
        labels=labels,
        mix=mix or f"sft=3,{NEWEST}=1",
        n=n or (N_SIMULATED if simulated else N_PEOPLE),
        simulated=simulated,
    )


N_PEOPLE, N_SIMULATED = 200, 1500  # prompts of a round
