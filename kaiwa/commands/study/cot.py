"""kaiwa study cot: a study of chain of thought in a small model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kaiwa.commands.console import make_context
from kaiwa.commands.options import read_options

if TYPE_CHECKING:
    from kaiwa.text.chat_model import OpenedModel


@dataclass(kw_only=True)
class Options:
    """Measure chain of thought in a small model.

    The model is trained on worked-out sums, then asked for the working before the answer, for the answer alone, and for
    the controls: equation only, dots, working after the answer.
    """

    out: Path | None = None  # default: runs/studies/cot
    quick: bool = False  # few items and little training, as a trial: too little for conclusions
    n: int | None = None  # items
    steps: int | None = None  # training steps
    seed: int = 0


def main(words: list[str]) -> None:
    """Train, ask, and print the verdicts."""
    options = read_options(Options, "kaiwa study cot", words)
    from kaiwa.catalog.entries import read_entry
    from kaiwa.catalog.open_model import open_entry
    from kaiwa.commands.lab.experiments import plan_text, print_analysis
    from kaiwa.studies.cot import QUICK, CoTConfig, experiment, study

    changes = {name: value for name in ("n", "steps") if (value := getattr(options, name)) is not None}
    config = dataclasses.replace(QUICK if options.quick else CoTConfig(), **changes)
    out = options.out or Path("runs") / "studies" / ("cot-quick" if options.quick else "cot")
    ctx = make_context(seed=options.seed, device="", logs=out / "logs")
    print(plan_text(experiment(config, ctx.seed)))

    def open_model(folder: Path) -> OpenedModel:
        entry = read_entry(folder, "worked-out sums")
        assert entry is not None
        return dataclasses.replace(open_entry(entry), form="text")

    print_analysis(study(config, ctx, out, open_model), out)
