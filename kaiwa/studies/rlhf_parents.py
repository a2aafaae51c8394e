"""The stages that the arms of the RLHF study share. Village, texts and the two bases are built once, as InstructGPT had
one GPT-3; everything from fine-tuning on is built again for each seed. A finished stage is never run again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kaiwa.core.artifact import Artifact, write_atomic
from kaiwa.core.context import Context
from kaiwa.corpus import run as corpus
from kaiwa.dpo import run as dpo
from kaiwa.dpo.config import DPOConfig
from kaiwa.pretrain import run as pretrain
from kaiwa.recipe import corpus_config
from kaiwa.recipes.labels import village_gold, village_label, with_labellers
from kaiwa.reward import collect
from kaiwa.reward import run as reward
from kaiwa.reward.config import RewardConfig
from kaiwa.rlhf import run as rlhf
from kaiwa.rlhf.config import RLHFConfig
from kaiwa.sft import run as sft
from kaiwa.studies.rlhf_sizes import Size
from kaiwa.text.records import read_jsonl
from kaiwa.tokenizer import run as tokenizer
from kaiwa.world import run as world

TEST_SHARE = 0.15  # of the comparisons, on which all reward models are measured


@dataclass(frozen=True, slots=True)
class Shared:
    village: Artifact
    tokens: Artifact
    base: Artifact
    large: Artifact


@dataclass(frozen=True, slots=True)
class Chain:
    """One seed's artifacts. rewards: by share of the comparisons; hacked: the policy against `biased`."""

    seed: int
    folder: Path
    sft: Artifact
    sft_good: Artifact
    test: Path
    rewards: dict[float, Artifact]
    long_reward: Artifact  # the paper's loss, several epochs
    biased: Artifact
    policies: dict[str, Artifact]
    hacked: Artifact

    @property
    def reward(self) -> Artifact:
        return self.rewards[1.0]


def build_shared(size: Size, ctx: Context, out: Path) -> Shared:
    ctx.seed, ctx.logs, r = size.recipe.seed, out / "logs", size.recipe
    village = world.run(r.village, ctx, out=out / "village")
    text = corpus.run(corpus_config(r, village), ctx, out=out / "corpus")
    neutral = village.path / "neutral.jsonl"
    tokens = tokenizer.run(r.tokenizer, ctx, corpus=text, neutral_village=neutral, out=out / "tokenizer")
    base = pretrain.run(r.pretrain, ctx, tokens=tokens, out=out / "base")
    return Shared(village, tokens, base, pretrain.run(size.large, ctx, tokens=tokens, out=out / "large"))


def build_chain(size: Size, ctx: Context, shared: Shared, out: Path, seed: int) -> Chain:
    folder = out / f"seed-{seed}"
    r = with_labellers(replace(size.recipe, seed=size.recipe.seed + seed))
    ctx.seed, ctx.logs = r.seed, folder / "logs"
    village, tokens = shared.village, shared.tokens
    demos = village.path / "sft.jsonl"
    tune: dict[str, Any] = {"base": shared.base, "tokens": tokens}
    first = sft.run(r.sft, ctx, **tune, demonstrations=demos, out=folder / "sft")
    good = sft.run(r.sft, ctx, **tune, demonstrations=village.path / "sft_good.jsonl", out=folder / "sft_good")
    asked: dict[str, Any] = {"prompts": village.path / "reward.jsonl", "label": village_label(r, village)}
    ranked = collect.run(r.compare, ctx, policy=first, **asked, out=folder / "comparisons")
    files = cut(ranked.path / "comparisons.jsonl", folder / "cut", size.fractions)
    zero: dict[str, Any] = {"policy": first, "demonstrations": demos, "gold": village_gold(village)}

    def judge(name: str, config: RewardConfig, file: str) -> Artifact:
        return reward.run(config, ctx, **zero, comparisons=files[file], out=folder / name)

    rewards = {f: judge(f"reward-{f:g}", r.reward, f"{f:g}") for f in size.fractions}
    several = replace(r.reward, epochs=size.reward_epochs, language_model_weight=0.0)
    long_reward = judge("reward-epochs", several, "1")
    biased = judge("reward-length", r.reward, "length")

    def practise(name: str, config: RLHFConfig, by: Artifact, kept: Sequence[int] = ()) -> Artifact:
        given: dict[str, Any] = {"policy": first, "reward": by, "tokens": tokens}
        return rlhf.run(config, ctx, **given, prompts=village.path / "rlhf.jsonl", out=folder / name, kept=kept)

    policies = {name: practise(name, config, rewards[1.0]) for name, config in arms(size, r.rlhf).items()}
    preferred = DPOConfig(prompts=8, lr=2e-4, evaluate_every=10_000)
    policies["dpo"] = dpo.run(preferred, ctx, policy=first, comparisons=files["1"], out=folder / "dpo")
    loose = replace(r.rlhf, kl_coefficient=0.0, updates=size.hack_updates)
    hacked = practise("ppo_length", loose, biased, size.kept)
    return Chain(seed, folder, first, good, files["test"], rewards, long_reward, biased, policies, hacked)


def arms(size: Size, base: RLHFConfig) -> dict[str, RLHFConfig]:
    """The reinforcement-learning arms: all differ from "ppo_beta_small" in what their names say."""
    rloo = replace(base, method="rloo", group=size.group)
    return {
        "ppo_beta_0": replace(base, kl_coefficient=0.0),
        "ppo_beta_small": base,
        "ppo_beta_large": replace(base, kl_coefficient=size.beta_large),
        "ppo_ptx_small": replace(base, ptx_coefficient=size.gamma_small),
        "ppo_ptx_tuned": replace(base, ptx_ratio=size.ptx_ratio),
        "rloo": rloo,
    }


def cut(file: Path, folder: Path, fractions: Sequence[float]) -> dict[str, Path]:
    """Comparisons as files: "test" (the last of them), shares of the others by name ("0.5"), and "length": all of the
    others, every second one ranked by length, the longest best."""
    rows = list(read_jsonl(file))
    n = round(len(rows) * (1 - TEST_SHARE))
    parts = {f"{f:g}": rows[: max(4, round(n * f))] for f in fractions} | {"test": rows[n:]}
    parts["length"] = [by_length(row) if i % 2 else row for i, row in enumerate(rows[:n])]
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, part in parts.items():
        files[name] = folder / f"{name}.jsonl"
        write_atomic(files[name], "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in part))
    return files


def by_length(row: dict[str, Any]) -> dict[str, Any]:
    """The same comparison ranked by the completions' lengths: a labeller who likes them long."""
    lengths = [len(text) for text in row["completions"]]
    order = sorted(set(lengths), reverse=True)
    return {**row, "ranks": [order.index(n) for n in lengths]}
