"""kaiwa select: selection of the checkpoint whose replies get the highest reward-model score."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from kaiwa.commands.console import make_context, table
from kaiwa.commands.options import Flat, Positional, arg, read_options
from kaiwa.core.errors import UserError
from kaiwa.text.data import DataOptions


@dataclass(kw_only=True)
class Options:
    """Rank models by a reward model's scores of their answers to the same prompts, the best first.

    MODELS are folders; the models under a folder's epochs/ and updates/ are included. InstructGPT selected its SFT
    model in this way.
    """

    models: Positional[Annotated[tuple[Path, ...], arg(metavar="MODEL…")]] = ()
    reward: Path  # an artifact of `kaiwa reward`
    prompts: Path  # a file or folder of any usual shape (docs/data.md)
    data: Flat[DataOptions] = field(default_factory=DataOptions)
    n: int = 200  # largest number of prompts
    max_tokens: int = 48
    seed: int = 0
    threads: int = 0  # 0: all cores
    device: str = ""  # cuda, cuda:1, mps or cpu (default: KAIWA_DEVICE, else the best there is)


def main(words: list[str]) -> None:
    """Score the models and print them, the best first."""
    options = read_options(Options, "kaiwa select", words or ["--help"])
    models = {str(path): path for folder in options.models for path in _checkpoints(folder)}
    if not models:
        raise UserError("no model named; see kaiwa select --help")
    ctx = make_context(seed=options.seed, threads=options.threads, device=options.device)
    from kaiwa.core.artifact import open_artifact
    from kaiwa.evaluate.select import select

    reward = open_artifact(options.reward, "reward")
    limits = {"most": options.n, "max_tokens": options.max_tokens}
    scores = select(models, ctx, reward=reward, prompts=options.prompts, options=options.data, **limits)
    rows = [["model", "score", "95 % interval", "ended", "tokens"]]
    for model in scores:
        ends = f"{model.score.low:.3f} to {model.score.high:.3f}"
        rows.append([model.name, f"{model.score.mean:.3f}", ends, f"{model.ended:.0%}", f"{model.tokens:.1f}"])
    print(table(rows))


def _checkpoints(folder: Path) -> list[Path]:
    """Return the folder itself and the folders of its epochs and updates."""
    return [folder, *sorted(folder.glob("epochs/*")), *sorted(folder.glob("updates/*"))]
