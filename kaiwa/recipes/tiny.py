"""`tiny`: all stages in about a minute, to check that everything works. The model is too small for good answers."""

from __future__ import annotations

from dataclasses import replace

from kaiwa.evaluate.config import EvaluateConfig
from kaiwa.model.config import DecoderConfig
from kaiwa.pretrain.config import PretrainConfig
from kaiwa.recipes.laptop import laptop, sources
from kaiwa.recipes.settings import Recipe
from kaiwa.reward.config import RewardConfig
from kaiwa.rlhf.config import Pretraining, RLHFConfig, Steps
from kaiwa.sft.config import SFTConfig
from kaiwa.tokenizer.config import TokenizerConfig
from kaiwa.world.config import WorldConfig
from kaiwa.world.village import VillageConfig


def tiny() -> Recipe:
    """Return the recipe of about a minute."""
    base = laptop()
    docs, code = sources(0.8, 0.15, 0.05)[1:]
    real = (replace(docs, max_bytes=300_000), replace(code, max_bytes=150_000))
    return replace(
        base,
        name="tiny",
        village=WorldConfig(
            village=VillageConfig(n_taught=18, n_held_out=6),
            document_bytes=900_000,
            neutral_bytes=300_000,
            demonstrations=800,
            reward_prompts=250,
            rlhf_prompts=1000,
            test_prompts=120,
            probes=24,
        ),
        corpus=replace(base.corpus, sources=(sources(0.8, 0.15, 0.05)[0], *real)),
        tokenizer=TokenizerConfig(vocab_size=1536),
        pretrain=PretrainConfig(
            model=DecoderConfig(d_model=128, n_layer=3, n_head=4, d_ff=320),
            steps=350,
            lr=4e-3,
            compile=False,
            in_order=("village",),
            evaluate_every=70,
            evaluate_rows=8,
        ),
        sft=SFTConfig(epochs=2, width=256, lr=1e-3, warmup=10),
        reward=RewardConfig(warmup=10),
        rlhf=RLHFConfig(
            updates=10,
            batch=64,
            steps=Steps(warmup=3),
            pretraining=Pretraining(ptx_ratio=0.7, ptx_rows=2),
        ),
        evaluate=EvaluateConfig(prompts=120, evaluate_rows=8),
    )
