"""The smallest configuration there is: every stage in a second or two, on a village of six."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kaiwa.core.artifact import Artifact
from kaiwa.core.context import Context
from kaiwa.corpus import run as corpus
from kaiwa.corpus.config import CorpusConfig, Source
from kaiwa.dpo import run as dpo
from kaiwa.dpo.config import DPOConfig
from kaiwa.evaluate import run as evaluate
from kaiwa.evaluate.config import EvaluateConfig
from kaiwa.model.config import DecoderConfig
from kaiwa.pretrain import run as pretrain
from kaiwa.pretrain.config import PretrainConfig
from kaiwa.quantize import run as quantize
from kaiwa.quantize.config import QuantizeConfig
from kaiwa.recipes.labels import village_label, with_labellers
from kaiwa.recipes.settings import Recipe
from kaiwa.reward import collect
from kaiwa.reward import run as reward
from kaiwa.reward.collect_config import CollectConfig
from kaiwa.reward.config import RewardConfig
from kaiwa.rlhf import best_of
from kaiwa.rlhf import run as rlhf
from kaiwa.rlhf.best_of_config import BestOfConfig
from kaiwa.rlhf.config import Corrections, Penalty, Pretraining, RLHFConfig, Steps
from kaiwa.sft import run as sft
from kaiwa.sft.config import SFTConfig
from kaiwa.text.records import Comparison
from kaiwa.tokenizer import run as tokenizer
from kaiwa.tokenizer.config import TokenizerConfig
from kaiwa.world import run as world
from kaiwa.world.config import WorldConfig
from kaiwa.world.village import VillageConfig


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Smallest(Recipe):
    """A recipe, and the stages that no recipe has but that fine-tuning uses."""

    lora: SFTConfig
    soft: SFTConfig
    dpo: DPOConfig
    rloo: RLHFConfig
    grpo: RLHFConfig
    adapter: RLHFConfig
    best_of: BestOfConfig


RECIPE = Smallest(
    name="smallest",
    village=WorldConfig(
        village=VillageConfig(n_taught=6, n_held_out=2),
        document_bytes=60_000,
        neutral_bytes=30_000,
        demonstrations=60,
        reward_prompts=16,
        rlhf_prompts=24,
        test_prompts=24,
        probes=4,
    ),
    tokenizer=TokenizerConfig(vocab_size=420),
    pretrain=PretrainConfig(
        model=DecoderConfig(d_model=32, n_layer=2, n_head=2, d_ff=64, max_length=128),
        width=128,
        steps=8,
        warmup=2,
        rows=4,
        microbatch=2,
        evaluate_every=4,
        evaluate_rows=2,
        compile=False,
        in_order=("village",),
    ),
    sft=SFTConfig(epochs=1, rows=4, width=128, pretrain_rows=1, evaluate_every=4),
    lora=SFTConfig(epochs=1, batch=16, width=128, pretrain_rows=0, evaluate_every=2, lora_rank=2, keep="best"),
    soft=SFTConfig(epochs=1, batch=16, width=128, pretrain_rows=0, evaluate_every=2, soft_prompt=3),
    dpo=DPOConfig(prompts=4, evaluate_every=2, sft_weight=0.1, keep="best", patience=3),
    compare=CollectConfig(k_min=4, k_max=4, max_tokens=8),
    reward=RewardConfig(prompts=4, evaluate_every=2, held_out_labellers=("labeller-5",)),
    rlhf=RLHFConfig(
        updates=4,
        batch=8,
        minibatches=2,
        microbatch=4,
        max_tokens=8,
        evaluate_every=2,
        steps=Steps(ema=0.9, warmup=2),
        pretraining=Pretraining(ptx_coefficient=1.0, ptx_rows=1, ptx_width=128),
    ),
    rloo=RLHFConfig(
        method="rloo",
        group=4,
        updates=3,
        batch=8,
        minibatches=1,
        max_tokens=6,
        evaluate_every=5,
        penalty=Penalty(kl_target=0.5),
    ),
    grpo=RLHFConfig(
        method="grpo",
        corrections=Corrections(token_scale="constant", group_scale="none", clip_high=0.28, mask_cut=True),
        group=2,
        updates=3,
        batch=8,
        epochs=2,
        max_tokens=6,
        evaluate_every=5,
        pretraining=Pretraining(ptx_ratio=0.5, ptx_rows=1, ptx_width=64),
    ),
    adapter=RLHFConfig(
        updates=3,
        batch=8,
        minibatches=2,
        max_tokens=6,
        lora_rank=2,
        shared_trunk=True,
        evaluate_every=5,
        steps=Steps(ema=0.9),
    ),
    best_of=BestOfConfig(n=2, max_tokens=4, block=5),
    quantize=QuantizeConfig(evaluate_rows=2, width=128),
    evaluate=EvaluateConfig(prompts=12, max_tokens=8, evaluate_rows=2, width=128, real_source="village"),
)

Run = Callable[[Context, Path, dict[str, Artifact], Smallest], Artifact]


def run_corpus(ctx: Context, out: Path, made: dict[str, Artifact], r: Smallest) -> Artifact:
    file = made["village"].path / "documents.jsonl"
    source = Source(name="village", path=f"records:{file}", trusted=True)
    return corpus.run(CorpusConfig(sources=(source,), min_train_bytes=1000), ctx, out=out)


def run_compare(ctx: Context, out: Path, made: dict[str, Artifact], r: Smallest) -> Artifact:
    """A model this small says nothing that a labeller could tell apart, so the shorter text in letters wins here."""
    by_village, prompts = village_label(r, made["village"]), made["village"].path / "reward.jsonl"

    def label(row: dict[str, Any], completions: Sequence[str], ended: Sequence[bool], number: int) -> Comparison:
        made = by_village(row, completions, ended, number)
        return dataclasses.replace(made, ranks=tuple(len(text) for text in completions))

    return collect.run(with_labellers(r).compare, ctx, policy=made["sft"], prompts=prompts, label=label, out=out)


def run_evaluate(ctx: Context, out: Path, made: dict[str, Artifact], r: Smallest) -> Artifact:
    models = {name: made[name] for name in ("base", "sft", "rlhf", "int4")}
    given: dict[str, Any] = {"village": made["village"], "tokens": made["tokenizer"], "reward": made["reward"]}
    return evaluate.run(r.evaluate, ctx, models=models, comparisons=made["comparisons"], out=out, **given)


def reinforce(ctx: Context, out: Path, made: dict[str, Artifact], config: RLHFConfig) -> Artifact:
    given: dict[str, Any] = {"policy": made["sft"], "reward": made["reward"], "tokens": made["tokenizer"]}
    return rlhf.run(config, ctx, prompts=made["village"].path / "rlhf.jsonl", out=out, **given)


STAGES: dict[str, Run] = {
    "village": lambda ctx, out, made, r: world.run(r.village, ctx, out=out),
    "corpus": run_corpus,
    "tokenizer": lambda ctx, out, made, r: tokenizer.run(
        r.tokenizer, ctx, corpus=made["corpus"], neutral_village=made["village"].path / "neutral.jsonl", out=out
    ),
    "base": lambda ctx, out, made, r: pretrain.run(r.pretrain, ctx, tokens=made["tokenizer"], out=out),
    "sft": lambda ctx, out, made, r: sft.run(
        r.sft,
        ctx,
        base=made["base"],
        tokens=made["tokenizer"],
        demonstrations=made["village"].path / "sft.jsonl",
        out=out,
    ),
    "lora": lambda ctx, out, made, r: sft.run(
        r.lora, ctx, base=made["sft"], demonstrations=made["village"].path / "sft.jsonl", out=out
    ),
    "soft": lambda ctx, out, made, r: sft.run(
        r.soft, ctx, base=made["sft"], demonstrations=made["village"].path / "sft.jsonl", out=out
    ),
    "comparisons": run_compare,
    "dpo": lambda ctx, out, made, r: dpo.run(
        r.dpo, ctx, policy=made["sft"], comparisons=made["comparisons"].path / "comparisons.jsonl", out=out
    ),
    "reward": lambda ctx, out, made, r: reward.run(
        r.reward,
        ctx,
        policy=made["sft"],
        comparisons=made["comparisons"].path / "comparisons.jsonl",
        demonstrations=made["village"].path / "sft.jsonl",
        out=out,
    ),
    "rlhf": lambda ctx, out, made, r: reinforce(ctx, out, made, r.rlhf),
    "rloo": lambda ctx, out, made, r: reinforce(ctx, out, made, r.rloo),
    "grpo": lambda ctx, out, made, r: reinforce(ctx, out, made, r.grpo),
    "adapter": lambda ctx, out, made, r: reinforce(ctx, out, made, r.adapter),
    "best_of": lambda ctx, out, made, r: best_of.run(
        r.best_of, ctx, policy=made["sft"], reward=made["reward"], prompts=made["village"].path / "rlhf.jsonl", out=out
    ),
    "int4": lambda ctx, out, made, r: quantize.run(
        r.quantize, ctx, model=made["rlhf"], text=made["tokenizer"], out=out
    ),
    "evaluation": run_evaluate,
}
RESUMABLE = (
    "base",
    "sft",
    "lora",
    "soft",
    "dpo",
    "reward",
    "rlhf",
    "rloo",
    "grpo",
    "adapter",
)  # stages with a loop that checkpoints
CONFIG_OF = {
    "village": "village",
    "corpus": "corpus",
    "tokenizer": "tokenizer",
    "base": "pretrain",
    "sft": "sft",
    "lora": "lora",
    "soft": "soft",
    "dpo": "dpo",
    "comparisons": "compare",
    "reward": "reward",
    "rlhf": "rlhf",
    "rloo": "rloo",
    "grpo": "grpo",
    "adapter": "adapter",
    "best_of": "best_of",
    "int4": "quantize",
    "evaluation": "evaluate",
}
DOCS = {
    "lora": "sft",
    "soft": "sft",
    "village": "world",
    "base": "pretrain",
    "rloo": "rlhf",
    "grpo": "rlhf",
    "adapter": "rlhf",
    "best_of": "rlhf",
    "comparisons": "reward",
    "int4": "quantize",
    "evaluation": "evaluate",
}
