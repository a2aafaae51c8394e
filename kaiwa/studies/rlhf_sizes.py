"""The training plan of the RLHF study, by size: one chain of stages, a base eight times as large, and the arms'
settings.

The policy is smaller than the recipe's, so that "eight times the parameters" fits into the time: `laptop` here has 1.6
million weights and a large base of 12.6 million, on a village of 54 people. GPT-3 had read the web, whose dialogues are
no model of helpfulness: so here most answers in the documents' dialogues are careless (`world/scribe.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from kaiwa.core.config import did_you_mean, override
from kaiwa.core.errors import UserError
from kaiwa.evaluate.config import EvaluateConfig
from kaiwa.model.config import DecoderConfig
from kaiwa.pretrain.config import PretrainConfig
from kaiwa.recipes.laptop import laptop
from kaiwa.recipes.settings import Recipe
from kaiwa.recipes.tiny import tiny
from kaiwa.reward.collect_config import CollectConfig
from kaiwa.tokenizer.config import TokenizerConfig
from kaiwa.world.village import VillageConfig

FAULTS = 0.6  # of the answers in the pretraining text's dialogues


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """beta_small is the recipe's own β; fractions: of the comparisons, for the reward model's learning curve."""

    recipe: Recipe
    large: PretrainConfig
    beta_large: float = 1.0
    gamma_small: float = 0.1
    ptx_ratio: float = 0.5  # the tuned γ: pretraining's gradient half as long as PPO's
    group: int = 4  # RLOO's responses a prompt
    best_of: int = 16
    hack_updates: int = 90  # against the reward model that likes length
    measured_updates: tuple[int, ...] = (5, 15, 30, 60)  # updates whose policies are measured on the way
    fractions: tuple[float, ...] = (0.125, 0.25, 0.5, 1.0)
    reward_epochs: int = 4
    shots: int = 3
    prefixes: int = 6  # candidates for the few-shot prefix
    prefix_prompts: int = 32
    clozes: int = 120

    def parameters(self, config: PretrainConfig) -> int:
        """Return the number of weights of a base, with this recipe's vocabulary."""
        return replace(config.model, vocab_size=self.recipe.tokenizer.vocab_size).n_parameters


def study_laptop() -> Size:
    base = laptop()
    recipe = replace(
        base,
        name="rlhf-laptop",
        village=replace(
            base.village,
            village=VillageConfig(n_taught=40, n_held_out=14),
            document_bytes=3_500_000,
            faults=FAULTS,
            demonstrations=3000,
            reward_prompts=2200,
            rlhf_prompts=4000,
            test_prompts=400,
        ),
        tokenizer=TokenizerConfig(vocab_size=2048),
        pretrain=replace(
            base.pretrain, model=DecoderConfig(d_model=160, n_layer=4, n_head=4, d_ff=432), steps=1700, lr=2.5e-3
        ),
        compare=CollectConfig(k_min=4, k_max=6, temperature=0.7, strays=2),
        reward=replace(base.reward, epochs=1, lr=5e-4),
        rlhf=override(base.rlhf, {"updates": 60, "ptx_ratio": 0.0}),
        evaluate=EvaluateConfig(prompts=400),
    )
    large = DecoderConfig(d_model=400, n_layer=6, n_head=8, d_ff=1104)
    return Size(recipe=recipe, large=replace(recipe.pretrain, model=large, lr=1.2e-3))


def study_tiny() -> Size:
    base = tiny()
    small = DecoderConfig(d_model=96, n_layer=2, n_head=4, d_ff=256)
    village = replace(base.village, test_prompts=120, reward_prompts=240, faults=FAULTS)
    recipe = replace(
        base,
        name="rlhf-tiny",
        village=village,
        pretrain=replace(base.pretrain, model=small, evaluate_every=350),
        compare=CollectConfig(k_min=4, k_max=5, temperature=0.7, strays=2),
        reward=replace(base.reward, epochs=1, lr=1e-3),
        rlhf=override(base.rlhf, {"ptx_ratio": 0.0}),
    )
    large = DecoderConfig(d_model=288, n_layer=3, n_head=4, d_ff=640)
    return Size(
        recipe=recipe,
        large=replace(recipe.pretrain, model=large, lr=2e-3),
        best_of=8,
        hack_updates=12,
        measured_updates=(4, 8),
        reward_epochs=3,
        prefixes=3,
        prefix_prompts=12,
        clozes=60,
    )


SIZES = {"tiny": study_tiny, "laptop": study_laptop}


def size(name: str) -> Size:
    if name not in SIZES:
        raise UserError(f"no study of recipe {name!r}{did_you_mean(name, SIZES)}")
    return SIZES[name]()
