"""kaiwa study icl: a study of in-context learning by model size."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kaiwa.commands.console import make_context, table
from kaiwa.commands.options import read_options
from kaiwa.core.errors import UserError

if TYPE_CHECKING:
    from kaiwa.catalog.entries import Entry
    from kaiwa.text.chat_model import OpenedModel


@dataclass(kw_only=True)
class Options:
    """Measure in-context learning by model size with k = 0, 1, 2, 4, 8, 16 demonstrations.

    Results are accuracy, log-loss, and slope with interval. Two small models are trained on the build's tokens; the
    build's base is the third, and SmolLM2 the fourth if installed.
    """

    build: Path = Path("runs/laptop")  # a finished build
    models: str = ""  # other models (names, folders) from small to large, without training
    out: Path | None = None  # default: runs/studies/icl
    quick: bool = False  # few items and little training, as a trial: too little for conclusions
    n: int | None = None  # items
    steps: int | None = None  # training steps
    seed: int = 0


def main(words: list[str]) -> None:
    """Ask every model, and print accuracy by size and number of demonstrations."""
    options = read_options(Options, "kaiwa study icl", words)
    from kaiwa.catalog.open_model import open_entry
    from kaiwa.studies.icl import ITEMS, QUICK_ITEMS, QUICK_STEPS, STEPS, study
    from kaiwa.studies.icl_report import WORDS, cells, write_icl_report

    out = options.out or Path("runs") / "studies" / ("icl-quick" if options.quick else "icl")
    n = options.n if options.n is not None else QUICK_ITEMS if options.quick else ITEMS
    steps = options.steps if options.steps is not None else QUICK_STEPS if options.quick else STEPS
    if n < 2 or steps < 1:
        raise UserError(f"--n {n} --steps {steps}: at least 2 items and 1 step are needed")
    entries = _entries(options, out, steps)

    def open_model(name: str) -> OpenedModel:
        entry = entries[name]
        print(f"asking {name}", file=sys.stderr)
        return dataclasses.replace(open_entry(entry), form="text")

    sizes = {name: entry.parameters for name, entry in entries.items()}
    measured = study(sizes, open_model, out, n=n, seed=options.seed)
    for task in dict.fromkeys(m.task for m in measured):
        print(f"\n{task}")
        print(table([list(WORDS["en"]["heads"]), *cells([m for m in measured if m.task == task])]))
    print(f"\nreport: {write_icl_report(measured, out)}")


def _entries(options: Options, out: Path, steps: int) -> dict[str, Entry]:
    """Return the models by name, from small to large: those of --models, else trained models, base and SmolLM2."""
    from kaiwa.catalog.entries import entry_by_name_or_path, read_entry, smollm2
    from kaiwa.core.artifact import open_artifact
    from kaiwa.studies.icl import train_sizes

    if options.models:
        return {name: entry_by_name_or_path(name) for name in options.models.split(",")}
    if not (options.build / "base").is_dir():
        raise UserError(f"{options.build}: no finished build; kaiwa build laptop, or give --build or --models")
    ctx = make_context(seed=options.seed, device="", logs=out / "logs")
    folders = train_sizes(ctx, open_artifact(options.build / "tokenizer", "tokenizer"), out, steps)
    entries: dict[str, Entry] = {}
    for name, folder in {**folders, "own-large": options.build / "base"}.items():
        entry = read_entry(folder, name)
        assert entry is not None
        entries[name] = entry
    if (bundled := smollm2()) is not None:
        entries[bundled.name] = bundled
    return entries
