"""One command a stage: the parents by option, every field of the stage's configuration, --out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from kaiwa.commands.console import make_context
from kaiwa.core.artifact import Artifact, open_artifact
from kaiwa.core.context import Context
from kaiwa.core.errors import UserError
from kaiwa.corpus.config import CorpusConfig
from kaiwa.dpo.config import DPOConfig
from kaiwa.evaluate.config import EvaluateConfig
from kaiwa.pretrain.config import PretrainConfig
from kaiwa.quantize.config import QuantizeConfig
from kaiwa.reward.config import RewardConfig
from kaiwa.rlhf.best_of_config import BestOfConfig
from kaiwa.rlhf.config import RLHFConfig
from kaiwa.sft.config import SFTConfig
from kaiwa.tokenizer.config import TokenizerConfig

Flat = tyro.conf.OmitArgPrefixes


@dataclass(kw_only=True)
class Common:
    """--out: the folder to publish; --seed; --threads (0: all cores)."""

    out: Path
    seed: int = 0
    threads: int = 0


@dataclass(kw_only=True)
class Computing(Common):
    """--device: cuda, cuda:1, mps or cpu (default: KAIWA_DEVICE, else the best there is)."""

    device: str = ""


@dataclass(kw_only=True)
class Corpus(Common):
    """Clean, deduplicate and split text: plain, Markdown, HTML, JSONL, Parquet, WARC, WET, files or folders."""

    source: tuple[str, ...] = ()  # none: Python's documentation and 2 MB of its library
    workers: int = 0
    strict: bool = False


@dataclass(kw_only=True)
class Tokenizer(Common):
    """Learn a byte-level BPE from a corpus and encode the corpus with it."""

    corpus: Path
    neutral: Path | None = None
    config: Annotated[TokenizerConfig, Flat] = field(default_factory=TokenizerConfig)


@dataclass(kw_only=True)
class Pretrain(Computing):
    """Train a GPT on the token shards of a tokenizer artifact."""

    tokens: Path
    config: Annotated[PretrainConfig, Flat] = field(default_factory=PretrainConfig)


@dataclass(kw_only=True)
class SFT(Computing):
    """Fine-tune a model (a folder, a .gguf file) on a JSONL of {"messages"}. --tokens: pretraining text to mix in."""

    base: Path
    demonstrations: Path
    tokens: Path | None = None
    config: Annotated[SFTConfig, Flat] = field(default_factory=SFTConfig)


@dataclass(kw_only=True)
class Reward(Computing):
    """Train a reward model from a JSONL of {"prompt","completions","ranks"} or {"prompt","chosen","rejected"}."""

    policy: Path
    comparisons: Path
    demonstrations: Path | None = None
    config: Annotated[RewardConfig, Flat] = field(default_factory=RewardConfig)


@dataclass(kw_only=True)
class DPO(Computing):
    """Train a model (a folder, a .gguf file) directly on a JSONL of {"prompt","chosen","rejected"} or of rankings."""

    policy: Path
    comparisons: Path
    config: Annotated[DPOConfig, Flat] = field(default_factory=DPOConfig)


@dataclass(kw_only=True)
class RLHF(Computing):
    """PPO-ptx, RLOO or GRPO against a reward model or a function (--score FILE.py:NAME).

    --prompts: a JSONL of {"messages"}. --preset instructgpt-1.3b (or 6b, 175b): the paper's numbers as defaults.
    --tokens: pretraining text, for ptx. --plan: print what it will hold in memory, and run nothing.
    """

    policy: Path
    prompts: Path
    reward: Path | None = None
    tokens: Path | None = None
    plan: bool = False
    config: Annotated[RLHFConfig, Flat] = field(default_factory=RLHFConfig)


@dataclass(kw_only=True)
class BestOf(Computing):
    """The best of N replies to each prompt by a reward model, as demonstrations: {"messages"}."""

    policy: Path
    reward: Path
    prompts: Path
    config: Annotated[BestOfConfig, Flat] = field(default_factory=BestOfConfig)


@dataclass(kw_only=True)
class Quantize(Common):
    """Four bits a weight, with perplexity before and after."""

    model: Path
    tokens: Path
    config: Annotated[QuantizeConfig, Flat] = field(default_factory=QuantizeConfig)


@dataclass(kw_only=True)
class Evaluate(Computing):
    """Models of a build (NAME=FOLDER …) on the village's held-out prompts, against the baseline."""

    models: tuple[str, ...]
    village: Path
    tokens: Path
    config: Annotated[EvaluateConfig, Flat] = field(default_factory=EvaluateConfig)


def run_corpus(c: Corpus, ctx: Context) -> Artifact:
    from kaiwa.corpus.config import from_paths
    from kaiwa.corpus.run import run

    config = CorpusConfig(workers=c.workers, strict=c.strict)
    return run(replace(config, sources=from_paths(c.source)) if c.source else config, ctx, out=c.out)


def run_tokenizer(c: Tokenizer, ctx: Context) -> Artifact:
    from kaiwa.tokenizer.run import run

    return run(c.config, ctx, corpus=open_artifact(c.corpus, "corpus"), neutral_village=c.neutral, out=c.out)


def run_pretrain(c: Pretrain, ctx: Context) -> Artifact:
    from kaiwa.pretrain.run import run

    return run(c.config, ctx, tokens=open_artifact(c.tokens, "tokenizer"), out=c.out)


def run_sft(c: SFT, ctx: Context) -> Artifact:
    from kaiwa.catalog.trainable import as_parent
    from kaiwa.sft.run import run

    tokens = open_artifact(c.tokens, "tokenizer") if c.tokens is not None else None
    base = as_parent(c.base)
    return run(c.config, ctx, base=base, tokens=tokens, demonstrations=c.demonstrations, out=c.out)


def run_reward(c: Reward, ctx: Context) -> Artifact:
    from kaiwa.catalog.trainable import as_parent
    from kaiwa.reward.run import run

    policy = as_parent(c.policy)
    zero = c.demonstrations
    return run(c.config, ctx, policy=policy, comparisons=c.comparisons, demonstrations=zero, out=c.out)


def run_dpo(c: DPO, ctx: Context) -> Artifact:
    from kaiwa.catalog.trainable import as_parent
    from kaiwa.dpo.run import run

    return run(c.config, ctx, policy=as_parent(c.policy), comparisons=c.comparisons, out=c.out)


def run_rlhf(c: RLHF, ctx: Context) -> Artifact | None:
    from kaiwa.catalog.trainable import as_parent
    from kaiwa.rlhf.memory import memory_table
    from kaiwa.rlhf.run import fitting, run

    policy = as_parent(c.policy)
    reward = open_artifact(c.reward, "reward") if c.reward is not None else None
    if c.plan:
        asked = fitting(c.config, ctx, policy.path, c.reward, c.prompts)
        print(memory_table(c.config, policy.path, c.reward, max(len(ids) for ids, _ in asked)))
        return None
    tokens = open_artifact(c.tokens, "tokenizer") if c.tokens is not None else None
    return run(c.config, ctx, policy=policy, reward=reward, tokens=tokens, prompts=c.prompts, out=c.out)


def run_best_of(c: BestOf, ctx: Context) -> Artifact:
    from kaiwa.catalog.trainable import as_parent
    from kaiwa.rlhf.best_of import run

    given: dict[str, Any] = {"policy": as_parent(c.policy), "reward": open_artifact(c.reward, "reward")}
    return run(c.config, ctx, **given, prompts=c.prompts, out=c.out)


def run_quantize(c: Quantize, ctx: Context) -> Artifact:
    from kaiwa.quantize.run import run

    tokens = open_artifact(c.tokens, "tokenizer")
    return run(c.config, ctx, model=open_artifact(c.model), tokens=tokens, out=c.out)


def run_evaluate(c: Evaluate, ctx: Context) -> Artifact:
    from kaiwa.evaluate.run import run

    models: dict[str, Artifact] = {}
    for item in c.models:
        name, _, folder = item.rpartition("=")
        models[name or Path(folder).name] = open_artifact(folder)
    village, tokens = open_artifact(c.village, "village"), open_artifact(c.tokens, "tokenizer")
    return run(c.config, ctx, models=models, village=village, tokens=tokens, out=c.out)


RUNS: Mapping[str, tuple[type[Common], Callable[[Any, Context], Artifact | None]]] = {
    "corpus": (Corpus, run_corpus),
    "tokenizer": (Tokenizer, run_tokenizer),
    "pretrain": (Pretrain, run_pretrain),
    "sft": (SFT, run_sft),
    "reward": (Reward, run_reward),
    "dpo": (DPO, run_dpo),
    "rlhf": (RLHF, run_rlhf),
    "best-of": (BestOf, run_best_of),
    "quantize": (Quantize, run_quantize),
    "evaluate": (Evaluate, run_evaluate),
}


def command(name: str) -> Callable[[list[str]], None]:
    """The function of a stage's command."""
    options, run = RUNS[name]

    def call(words: list[str]) -> None:
        kind, words = with_preset(name, options, words)
        chosen = tyro.cli(kind, prog=f"kaiwa {name}", args=words)
        logs = chosen.out.parent / "logs"
        device = chosen.device if isinstance(chosen, Computing) else None
        made = run(chosen, make_context(seed=chosen.seed, threads=chosen.threads, device=device, logs=logs))
        if made is None:
            return
        print(f"{made.path}: {made.kind}, {made.manifest['seconds']} s, hash {made.hash[:16]}")

    return call


def with_preset(name: str, options: type[Common], words: list[str]) -> tuple[type[Common], list[str]]:
    """`--preset NAME` taken out of the words: the options with the preset's configuration as their defaults."""
    if "--preset" not in words:
        return options, words
    at = words.index("--preset")
    if at + 1 == len(words):
        raise UserError("--preset needs a name, as instructgpt-1.3b")
    from kaiwa.recipes.instructgpt import preset

    config = preset(words[at + 1], name)
    of = Annotated[type(config), Flat]  # type: ignore[valid-type]
    fields = [("config", of, field(default_factory=lambda: config))]
    made = make_dataclass(options.__name__, fields, bases=(options,), kw_only=True)
    made.__doc__ = options.__doc__
    return made, words[:at] + words[at + 2 :]
