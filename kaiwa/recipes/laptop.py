"""`laptop`: a chat model built on two cores in about a quarter of an hour; `laptop-ja` also speaks Japanese."""

from __future__ import annotations

from dataclasses import replace

from kaiwa.corpus.config import CorpusConfig, Source
from kaiwa.model.config import DecoderConfig
from kaiwa.pretrain.config import PretrainConfig
from kaiwa.recipes.settings import Recipe
from kaiwa.reward.collect_config import CollectConfig
from kaiwa.reward.config import RewardConfig
from kaiwa.rlhf.config import Pretraining, RLHFConfig
from kaiwa.sft.config import SFTConfig
from kaiwa.tokenizer.config import TokenizerConfig
from kaiwa.world.config import WorldConfig
from kaiwa.world.village import VillageConfig

VILLAGE = "records:{village}/documents.jsonl"  # {village} is the build's village folder


def sources(village: float, docs: float, code: float) -> tuple[Source, ...]:
    """Return the three built-in sources with their shares of the mixture: the village, real English, real code."""
    return (
        Source(name="village", path=VILLAGE, trusted=True, weight=village),
        Source(name="docs", path="builtin:docs", language="en", weight=docs),
        Source(name="code", path="builtin:code", language="code", kind="code", max_bytes=1_500_000, weight=code),
    )


def laptop() -> Recipe:
    """Return the recipe of about a quarter of an hour on two cores, in English."""
    return Recipe(
        name="laptop",
        village=WorldConfig(
            village=VillageConfig(n_taught=90, n_held_out=30),
            document_bytes=6_000_000,
            demonstrations=4500,
            reward_prompts=4500,
        ),
        corpus=CorpusConfig(sources=sources(0.72, 0.2, 0.08)),
        tokenizer=TokenizerConfig(vocab_size=3072),
        pretrain=PretrainConfig(
            model=DecoderConfig(d_model=256, n_layer=4, n_head=4, d_ff=640),
            steps=2300,
            rows=4,
            microbatch=4,
            lr=2e-3,
            in_order=("village",),
            evaluate_every=400,
        ),
        sft=SFTConfig(
            epochs=2, width=256, lr=5e-4, pretrain_rows=1, pretrain_weight=1.0, warmup=10, evaluate_every=100
        ),
        compare=CollectConfig(k_min=5, k_max=7, temperature=0.7, strays=2),
        reward=RewardConfig(
            epochs=2,
            prompts=4,
            lr=3e-4,
            warmup=10,
            language_model_weight=1.0,
            evaluate_every=2000,  # only once, since the end of each epoch is measured too
        ),
        rlhf=RLHFConfig(
            updates=65,
            temperature=0.7,
            pretraining=Pretraining(ptx_ratio=0.7),
        ),
    )


def laptop_ja() -> Recipe:
    """Return the recipe of a model that speaks English and Japanese."""
    base = laptop()
    # Each fact is learned once per language, hence fewer villagers, so that each is read about as often as in `laptop`.
    # Smaller steps are needed to learn the answers to Japanese questions, and more neutral text for tokens of kanji.
    village = replace(base.village.village, languages=("en", "ja"), n_taught=60, n_held_out=24)
    return replace(
        base,
        name="laptop-ja",
        village=replace(
            base.village, village=village, document_bytes=7_000_000, neutral_bytes=2_000_000, demonstrations=5000
        ),
        tokenizer=replace(base.tokenizer, vocab_size=4096),
        pretrain=replace(
            base.pretrain, steps=9200, rows=2, microbatch=2, lr=1.4e-3, decay_share=0.6, evaluate_every=800
        ),
    )
