"""kaiwa study cot: chain of thought at laptop size."""

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
    """Chain of thought at laptop size: a small model is trained on worked-out sums, and then asked with the working
    first, with the answer alone, and with the controls: equation only, dots, the working after the answer.
    """

    out: Path | None = None  # default: runs/studies/cot
    quick: bool = False  # few items and hardly any training: to see how it works, too little to tell anything
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
