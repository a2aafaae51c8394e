"""The configuration of reinforcement learning. The paper's β = 0.02 and γ = 27.8 do not transfer: see docs/rlhf.md."""

from __future__ import annotations

from dataclasses import dataclass, field

from kaiwa.core.config import GROUP
from kaiwa.core.errors import UserError
from kaiwa.rlhf.config_groups import (
    Corrections,
    EndRule,
    Estimator,
    Method,
    Penalty,
    Pretraining,
    Returns,
    Steps,
    TokenScale,
    check_least,
)
from kaiwa.text.data import DataOptions

__all__ = [
    "Corrections", "EndRule", "Estimator", "Method", "Penalty", "Pretraining", "RLHFConfig", "Returns", "Steps",
    "TokenScale",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RLHFConfig:
    """The fields of the groups are also options and JSON fields: --kl-coefficient, {"kl_coefficient"}."""

    method: Method = "ppo"  # rloo, grpo: no value model; the `group` responses to a prompt give the baseline
    group: int = 1  # responses per prompt in a batch (rloo, grpo: 2 or more)
    updates: int = 80
    batch: int = 64  # episodes per update
    minibatches: int = 2  # optimizer steps per epoch
    epochs: int = 1  # passes over the batch (InstructGPT: 1)
    microbatch: int = 16  # episodes per forward pass; does not change the gradient
    max_tokens: int = 32
    temperature: float = 1.0
    penalty: Penalty = field(default_factory=Penalty, metadata=GROUP)
    returns: Returns = field(default_factory=Returns, metadata=GROUP)
    clip: float = 0.2
    corrections: Corrections = field(default_factory=Corrections, metadata=GROUP)
    value_clip: float = 0.5
    steps: Steps = field(default_factory=Steps, metadata=GROUP)
    pretraining: Pretraining = field(default_factory=Pretraining, metadata=GROUP)
    lora_rank: int = 0  # rank of the LoRA adapter to train; the reference is the policy without it (0: all weights)
    lora_alpha: float = 16.0
    shared_trunk: bool = False  # the value model is a head (with lora_rank also an adapter) on the reward model's trunk
    score: str = ""  # FILE.py:FUNCTION in place of the reward model, or a sum: 0.5*a.py:f,2*b.py:g (see rlhf/score.py)
    reward_weight: float = 0.0  # weight of the reward model's score beside `score` (0: score replaces it)
    data: DataOptions = field(default_factory=DataOptions, metadata=GROUP)  # how the prompts are read
    evaluate_every: int = 10

    @property
    def has_value(self) -> bool:
        return self.method == "ppo"

    @property
    def has_pretraining(self) -> bool:
        return self.pretraining.ptx_coefficient > 0 or self.pretraining.ptx_ratio > 0

    def __post_init__(self) -> None:
        counts = ("group", "updates", "batch", "minibatches", "epochs", "microbatch", "max_tokens", "evaluate_every")
        check_least(self, *counts, least=1)
        check_least(self, "lora_rank", least=0)
        if self.shared_trunk and not self.has_value:
            raise UserError(f"rlhf.shared_trunk is for ppo's value model; {self.method} has none")
        if self.batch % self.minibatches:
            raise UserError(f"rlhf.batch {self.batch} is not a multiple of minibatches {self.minibatches}")
        if self.batch % self.group:
            raise UserError(f"rlhf.batch {self.batch} is not a multiple of group {self.group} (responses per prompt)")
        if self.method != "ppo" and self.group < 2:
            raise UserError(f"rlhf.group is {self.group}; {self.method} compares 2 or more responses a prompt (4 to 8)")
        if not self.clip > 0:
            raise UserError(f"rlhf.clip is {self.clip}; it must be above 0 (0.2 is usual)")
        if not self.temperature > 0:
            raise UserError(f"rlhf.temperature is {self.temperature}; rollouts need a temperature above 0")
