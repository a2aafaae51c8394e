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
from kaiwa.core.config import override
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
class SharedArtifacts:
    village: Artifact
    tokens: Artifact
    base: Artifact
    large: Artifact


@dataclass(frozen=True, slots=True)
class SeedArtifacts:
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


def build_shared(size: Size, ctx: Context, out: Path) -> SharedArtifacts:
    ctx.seed, ctx.logs, r = size.recipe.seed, out / "logs", size.recipe
    village = world.run(r.village, ctx, out=out / "village")
    text = corpus.run(corpus_config(r, village), ctx, out=out / "corpus")
    neutral = village.path / "neutral.jsonl"
    tokens = tokenizer.run(r.tokenizer, ctx, corpus=text, neutral_village=neutral, out=out / "tokenizer")
    base = pretrain.run(r.pretrain, ctx, tokens=tokens, out=out / "base")
    return SharedArtifacts(village, tokens, base, pretrain.run(size.large, ctx, tokens=tokens, out=out / "large"))


def build_seed(size: Size, ctx: Context, shared: SharedArtifacts, out: Path, seed: int) -> SeedArtifacts:
    folder = out / f"seed-{seed}"
    r = with_labellers(replace(size.recipe, seed=size.recipe.seed + seed))
    ctx.seed, ctx.logs = r.seed, folder / "logs"
    village, tokens = shared.village, shared.tokens
    demos = village.path / "sft.jsonl"
    parents: dict[str, Any] = {"base": shared.base, "tokens": tokens}
    first = sft.run(r.sft, ctx, **parents, demonstrations=demos, out=folder / "sft")
    good = sft.run(r.sft, ctx, **parents, demonstrations=village.path / "sft_good.jsonl", out=folder / "sft_good")
    collection: dict[str, Any] = {"prompts": village.path / "reward.jsonl", "label": village_label(r, village)}
    ranked = collect.run(r.compare, ctx, policy=first, **collection, out=folder / "comparisons")
    files = split_comparisons(ranked.path / "comparisons.jsonl", folder / "cut", size.fractions)
    reward_parents: dict[str, Any] = {"policy": first, "demonstrations": demos, "gold": village_gold(village)}

    def train_reward(name: str, config: RewardConfig, file: str) -> Artifact:
        return reward.run(config, ctx, **reward_parents, comparisons=files[file], out=folder / name)

    rewards = {f: train_reward(f"reward-{f:g}", r.reward, f"{f:g}") for f in size.fractions}
    several = replace(r.reward, epochs=size.reward_epochs, language_model_weight=0.0)
    long_reward = train_reward("reward-epochs", several, "1")
    biased = train_reward("reward-length", r.reward, "length")

    def run_rlhf(name: str, config: RLHFConfig, reward_model: Artifact, save_at: Sequence[int] = ()) -> Artifact:
        artifacts: dict[str, Any] = {"policy": first, "reward": reward_model, "tokens": tokens}
        return rlhf.run(
            config, ctx, **artifacts, prompts=village.path / "rlhf.jsonl", out=folder / name, publish_after=save_at
        )

    policies = {name: run_rlhf(name, config, rewards[1.0]) for name, config in arms(size, r.rlhf).items()}
    preferred = DPOConfig(prompts=8, lr=2e-4, warmup=10, evaluate_every=10_000)
    policies["dpo"] = dpo.run(preferred, ctx, policy=first, comparisons=files["1"], out=folder / "dpo")
    loose = override(r.rlhf, {"kl_coefficient": 0.0, "updates": size.hack_updates})
    hacked = run_rlhf("ppo_length", loose, biased, size.measured_updates)
    return SeedArtifacts(seed, folder, first, good, files["test"], rewards, long_reward, biased, policies, hacked)


def arms(size: Size, base: RLHFConfig) -> dict[str, RLHFConfig]:
    """Return the reinforcement-learning arms: all differ from "ppo_beta_small" as the names say."""
    rloo = replace(base, method="rloo", group=size.group)
    return {
        "ppo_beta_0": override(base, {"kl_coefficient": 0.0}),
        "ppo_beta_small": base,
        "ppo_beta_large": override(base, {"kl_coefficient": size.beta_large}),
        "ppo_ptx_small": override(base, {"ptx_coefficient": size.gamma_small}),
        "ppo_ptx_tuned": override(base, {"ptx_ratio": size.ptx_ratio}),
        "rloo": rloo,
    }


def split_comparisons(file: Path, folder: Path, fractions: Sequence[float]) -> dict[str, Path]:
    """Write comparisons as files; return name -> file.

    "test": the last comparisons. "0.5" and the like: the given share of the others. "length": all of the others, every
    second one ranked by length, the longest best.
    """
    rows = list(read_jsonl(file))
    n = round(len(rows) * (1 - TEST_SHARE))
    parts = {f"{f:g}": rows[: max(4, round(n * f))] for f in fractions} | {"test": rows[n:]}
    parts["length"] = [rank_by_length(row) if i % 2 else row for i, row in enumerate(rows[:n])]
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, part in parts.items():
        files[name] = folder / f"{name}.jsonl"
        write_atomic(files[name], "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in part))
    return files


def rank_by_length(row: dict[str, Any]) -> dict[str, Any]:
    """Rank a comparison by the completions' lengths, as a labeller who likes long completions would."""
    lengths = [len(text) for text in row["completions"]]
    order = sorted(set(lengths), reverse=True)
    return {**row, "ranks": [order.index(n) for n in lengths]}
