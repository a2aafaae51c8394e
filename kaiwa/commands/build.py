"""kaiwa build: raw text to a chat model, by a recipe; `kaiwa build smollm2` trains a real model on preferences."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kaiwa.commands.console import make_context
from kaiwa.commands.options import HELP, Positional, arg, read_options, take_overrides
from kaiwa.core.config import override
from kaiwa.core.errors import UserError


@dataclass(kw_only=True)
class Options:
    """Build a recipe: raw text to a chat model. After a stop, the same command continues.

    RECIPE is tiny, laptop, laptop-ja, or a Python file with a recipe() function; tiny-chatgpt, chatgpt and chatgpt-ja
    go on with their base models on dialogues; smollm2 has its own options (kaiwa build smollm2 --help).
    Any field of a stage can be set as --STAGE.FIELD VALUE, where STAGE is one of village corpus tokenizer pretrain sft
    compare reward rlhf quantize evaluate: kaiwa build laptop --pretrain.steps 500 --rlhf.kl-coefficient 0.05
    """

    recipe: Positional[Annotated[str, arg(metavar="RECIPE")]]
    out: Path | None = None  # the build's folder (default: runs/RECIPE)
    seed: int | None = None  # default: the recipe's
    threads: int = 0  # 0: all cores
    device: str = ""  # cuda, cuda:1, mps or cpu (default: KAIWA_DEVICE, else the best there is)


@dataclass(kw_only=True)
class SmolLM2Options:
    """Train a real model on preference files: SFT on the better answers, a reward model, a judge, PPO-ptx.

    All stages train LoRA adapters of SmolLM2-135M-Instruct (or --base). Preferences: JSON, JSONL, .gz of
    {"prompt","chosen","rejected"}, {"instruction","input","chosen","rejected"}, or whole dialogues.
    Any field of the recipe can be set: --rlhf.updates 10, --most 400.
    """

    preferences: str  # files, separated by commas
    base: Path | None = None  # a model's folder or a .gguf file (default: SmolLM2-135M-Instruct)
    out: Path = Path("runs/smollm2")
    threads: int = 0  # 0: all cores
    device: str = ""  # cuda, cuda:1, mps or cpu (default: KAIWA_DEVICE, else the best there is)


def main(words: list[str]) -> None:
    """Build the recipe and print its table."""
    if words and words[0] == "smollm2":
        build_smollm2(words[1:])
        return
    words, changes = take_overrides(words or ["--help"], Options)
    options = read_options(Options, "kaiwa build", words)
    if options.seed is not None:
        changes["seed"] = str(options.seed)
    context = make_context(threads=options.threads, device=options.device)
    from kaiwa.recipes.presets import find_recipe

    recipe = override(find_recipe(options.recipe), changes)
    _use_threads(options.threads)

    from kaiwa.commands.report import summary
    from kaiwa.recipe import build
    from kaiwa.recipes.report import read_report

    out = options.out or Path("runs") / Path(options.recipe).stem
    build(recipe, context, out)
    print(summary(read_report(out), out))


def build_smollm2(words: list[str]) -> None:
    """Train a real model on the preferences and print the measurements."""
    words, changes = take_overrides(words or ["--help"], SmolLM2Options)
    if not any(word.partition("=")[0] == "--preferences" or word in HELP for word in words):
        raise UserError("--preferences is missing; see kaiwa build smollm2 --help")
    options = read_options(SmolLM2Options, "kaiwa build smollm2", words)
    ctx = make_context(threads=options.threads, device=options.device)
    from kaiwa.recipes.smollm2 import SmolLM2, build, summary

    files = [Path(name) for name in options.preferences.split(",")]
    print(summary(build(override(SmolLM2(), changes), ctx, files, options.out, options.base)))
    print(f"report: {options.out / 'report.json'}; the policy's adapter: {options.out / 'ppo_ptx' / 'adapter'}")


def _use_threads(threads: int) -> None:
    """Set torch's number of threads, if torch was imported before OMP_NUM_THREADS was set."""
    if threads and "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)
