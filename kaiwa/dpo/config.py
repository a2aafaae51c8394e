"""The configuration of direct preference optimisation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from kaiwa.core.config import GROUP
from kaiwa.core.errors import UserError
from kaiwa.text.data import DataOptions
from kaiwa.train.schedule import Keep

Loss = Literal["sigmoid", "ipo", "kto", "simpo", "orpo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DPOConfig:
    loss: Loss = "sigmoid"  # dpo/loss.py: sigmoid is DPO; ipo, kto, simpo, orpo
    beta: float = 0.1  # strength of the KL constraint to the reference (Rafailov et al.: 0.1; simpo: 2)
    label_smoothing: float = 0.0  # share of the labels taken for wrong (sigmoid, simpo)
    margin: float = 0.0  # by which the better reward must be above the other (simpo: 0.5 to 1.5)
    epochs: int = 1
    prompts: int = 8  # prompts per step; all pairs of a prompt are one batch element
    lr: float | None = None  # None: by method and number of weights (catalog/learning_rates.py)
    beta1: float = 0.9
    beta2: float = 0.95
    weight_decay: float = 0.0
    max_norm: float = 1.0
    warmup: float = 0.1  # below 1: share of the steps; from 1 on: steps
    floor: float = 0.1
    width: int = 512  # largest number of tokens of a packed row (prompt and its completions)
    validation_share: float = 0.1  # of the prompts
    sft_weight: float = 0.0  # weight of a next-token loss on the best-ranked completions (0: the paper; orpo: 1)
    lora_rank: int = 0  # rank of the LoRA adapter to train while the weights stay frozen (0: train all weights)
    lora_alpha: float = 16.0
    evaluate_every: int = 50
    keep: Keep = "last"  # which weights are published: the last, or those of the lowest held-out loss
    patience: int = 0  # evaluations without a lower held-out loss after which training stops (0: never)
    data: DataOptions = field(default_factory=DataOptions, metadata=GROUP)

    @property
    def has_reference(self) -> bool:
        """Whether the loss reads the reference's log-probabilities."""
        return self.loss not in ("simpo", "orpo")

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 0.5:
            raise UserError(f"dpo.label_smoothing is {self.label_smoothing}; it must be in [0, 0.5)")
        if self.label_smoothing and self.loss not in ("sigmoid", "simpo"):
            raise UserError(f"dpo.label_smoothing is for the losses sigmoid and simpo, not for {self.loss}")
        if self.margin and self.loss not in ("sigmoid", "simpo"):
            raise UserError(f"dpo.margin is for the losses sigmoid and simpo, not for {self.loss}")
        for name in ("epochs", "prompts", "width", "evaluate_every"):
            if getattr(self, name) < 1:
                raise UserError(f"dpo.{name} is {getattr(self, name)}; it must be at least 1")
        if not self.beta > 0:
            raise UserError(f"dpo.beta is {self.beta}; it must be above 0 (0.1 is usual)")
        if not self.warmup >= 0:
            raise UserError(f"dpo.warmup is {self.warmup}; it must be at least 0")
        if self.lr is not None and not self.lr > 0:
            raise UserError(f"dpo.lr is {self.lr}; it must be above 0")
        if not 0 <= self.validation_share < 1:
            raise UserError(f"dpo.validation_share is {self.validation_share}; it must be in [0, 1)")
        if self.patience < 0:
            raise UserError(f"dpo.patience is {self.patience}; it must be at least 0")
        if self.lora_rank < 0:
            raise UserError(f"dpo.lora_rank is {self.lora_rank}; it must be at least 0")
