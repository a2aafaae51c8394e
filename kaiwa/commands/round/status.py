"""kaiwa round status: a line a round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kaiwa.commands.options import read_options
from kaiwa.commands.round import RoundOptions


@dataclass(kw_only=True)
class Options(RoundOptions):
    """List the rounds of a build: prompts, labels, the reward model's accuracy and its ceiling, win rates."""


def main(words: list[str]) -> None:
    """Print the table."""
    options = read_options(Options, "kaiwa round status", words)
    from kaiwa.commands.console import table
    from kaiwa.commands.feedback import open_store
    from kaiwa.core.errors import UserError
    from kaiwa.feedback.judged import judged
    from kaiwa.report.rounds import read_rounds
    from kaiwa.rounds.folder import RoundsOf

    rounds, store = RoundsOf.open(options.run), open_store()
    lines = read_rounds(options.run)
    rows = [["round", "prompts", "labels", "RM accuracy", "ceiling", "wins vs before", "wins vs sft", "state"]]
    for line in lines:
        try:
            batch = rounds.batch(store, line.number)
            n = sum(1 for _ in judged(store, batch))
            labels = f"{n:,} of {store.count_items(batch)[0] * batch.n_labels:,}"
        except UserError:
            labels = "batch is gone"
        state = "trained" if line.is_trained else "to be labelled and trained"
        rows.append([
            str(line.number), f"{line.prompts:,} x {line.k}", labels, _share(line.accuracy), _share(line.ceiling),
            _interval(line.against_before), _interval(line.against_sft), state,
        ])  # fmt: skip
    print(table(rows) if lines else f"{options.run}: no round yet; begin with `kaiwa round new {options.run}`")


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _interval(value: Mapping[str, Any]) -> str:
    if not value or value.get("mean") is None:
        return "–"
    return f"{value['mean']:.0%} ({value['low']:.0%} to {value['high']:.0%})"
