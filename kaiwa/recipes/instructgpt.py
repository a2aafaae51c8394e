"""`instructgpt`: every number that the paper states, by size (Ouyang et al., 2022, appendix C), as stages' settings.

The presets of the stages' commands (`kaiwa rlhf --preset instructgpt-1.3b …`) are for reading and for scaling down, not
for a build on a laptop. kaiwa chooses the values that the paper does not state; docs/rlhf.md lists both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.model.config import SIZES, DecoderConfig
from kaiwa.reward.collect_config import CollectConfig
from kaiwa.reward.config import RewardConfig
from kaiwa.rlhf.config import Penalty, Pretraining, Returns, RLHFConfig, Steps
from kaiwa.sft.config import SFTConfig


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers that depend on the size.

    The paper does not state policy_lr, only the values tried. This table has the largest value that did not diverge
    without ptx, and for 175B the smaller of the two values tried.
    """

    model: DecoderConfig
    sft_lr: float
    ppo_init_lr: float
    sft_batch: int
    value_lr: float
    policy_lr: float


NUMBERS = {
    "1.3b": Numbers(SIZES["gpt3-1.3b"], 9.65e-6, 5e-6, 32, 9e-6, 8.05e-6),
    "6b": Numbers(SIZES["gpt3-6.7b"], 9.65e-6, 1.04e-5, 32, 9e-6, 8.05e-6),
    "175b": Numbers(SIZES["gpt3-175b"], 5.03e-6, 2.45e-6, 8, 5e-6, 2.55e-6),
}
CONTEXT = 2048
EPISODES, BATCH, MINIBATCHES = 256_000, 512, 8
PTX_EXAMPLES = 8  # per episode


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructGPT:
    """The settings of all stages for one size of the policy.

    sft: the evaluated baseline (16 epochs, of which one is selected by reward score). ppo_init: the start of RL and
    the reference of its KL. The reward and value models have 6B weights for every size of the policy.
    """

    policy: DecoderConfig
    judge: DecoderConfig
    sft: SFTConfig
    ppo_init: SFTConfig
    collect: CollectConfig
    reward: RewardConfig
    rlhf: RLHFConfig


def instructgpt(size: str = "1.3b") -> InstructGPT:
    """Return the paper's settings for a policy of this size: 1.3b, 6b or 175b."""
    if size not in NUMBERS:
        raise UserError(f"no InstructGPT of size {size!r}{did_you_mean(size, NUMBERS)}")
    n = NUMBERS[size]
    common: dict[str, Any] = {
        "batch": n.sft_batch,
        "width": CONTEXT,
        "warmup": 0,
        "floor": 0.1,
        "weight_decay": 0.0,
        "max_norm": 1.0,
        "validation_share": 0.1,
    }
    return InstructGPT(
        policy=n.model,
        judge=NUMBERS["6b"].model,
        sft=SFTConfig(epochs=16, lr=n.sft_lr, dropout=0.2, pretrain_rows=0, every_epoch=True, **common),
        ppo_init=SFTConfig(
            epochs=2,
            lr=n.ppo_init_lr,
            dropout=0.2,
            pretrain_rows=max(1, n.sft_batch // 9),
            pretrain_weight=1 / 9,
            **common,
        ),
        collect=CollectConfig(k_min=4, k_max=9, max_tokens=1024, temperature=1.0, strays=0),
        reward=RewardConfig(
            epochs=1,
            prompts=64,
            lr=9e-6,
            warmup=0,
            floor=0.1,
            weight_decay=0.0,
            width=10 * CONTEXT,
            language_model_weight=0.0,
        ),
        rlhf=RLHFConfig(
            updates=EPISODES // BATCH,
            batch=BATCH,
            minibatches=MINIBATCHES,
            epochs=1,
            microbatch=8,
            max_tokens=1024,
            temperature=1.0,
            clip=0.2,
            penalty=Penalty(kl_coefficient=0.02, kl_estimator="k1", kl_target=0.0),
            returns=Returns(gamma=1.0),
            steps=Steps(lr=n.policy_lr, value_lr=n.value_lr, warmup=10, ema=0.992),
            pretraining=Pretraining(
                ptx_coefficient=27.8, ptx_rows=PTX_EXAMPLES * BATCH // MINIBATCHES, ptx_width=CONTEXT
            ),
        ),
    )


def preset(name: str, stage: str) -> SFTConfig | RewardConfig | RLHFConfig:
    """Return the configuration of a stage's command for "instructgpt-1.3b"; for sft also
    "instructgpt-1.3b-ppo-init".
    """
    known = [f"instructgpt-{size}" for size in NUMBERS]
    if stage == "sft":
        known += [f"{one}-ppo-init" for one in known]
    if name not in known or stage not in ("sft", "reward", "rlhf"):
        raise UserError(f"no preset {name!r} of {stage}{did_you_mean(name, known)}")
    size = name.removeprefix("instructgpt-").removesuffix("-ppo-init")
    config: SFTConfig | RewardConfig | RLHFConfig
    config = getattr(instructgpt(size), "ppo_init" if name.endswith("-ppo-init") else stage)
    return config
