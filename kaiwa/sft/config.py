"""The configuration of supervised fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass, field

from kaiwa.core.config import GROUP
from kaiwa.core.errors import UserError
from kaiwa.text.data import DataOptions
from kaiwa.train.schedule import Keep


@dataclass(frozen=True, slots=True, kw_only=True)
class SFTConfig:
    epochs: int = 2
    rows: int = 4  # packed rows of demonstrations per step
    width: int | None = None  # tokens per row (None: the longest demonstration, at least 256, at most 2048)
    lr: float | None = None  # None: by method and number of weights (catalog/learning_rates.py)
    beta1: float = 0.9
    beta2: float = 0.95
    weight_decay: float = 0.05
    max_norm: float = 1.0
    warmup: float = 0.1  # below 1: share of the steps; from 1 on: steps
    floor: float = 0.1  # share of lr at the end of the cosine (InstructGPT: 0.1)
    pretrain_rows: int | None = None  # rows of pretraining text per step (None: 2 with pretraining text, else 0)
    pretrain_weight: float = 0.5  # factor of the loss on the pretraining rows
    validation_share: float = 0.05  # of the demonstrations
    evaluate_every: int = 50
    language_model_weight: float = 0.0  # weight of the loss on the user's tokens (0: only the assistant's tokens)
    batch: int = 0  # demonstrations per step (0: `rows` packed rows instead)
    lora_rank: int = 0  # rank of the LoRA adapter to train while the weights stay frozen (0: train all weights)
    lora_alpha: float = 16.0
    dropout: float = 0.0  # dropout on each block's output before the residual addition (InstructGPT: 0.2)
    every_epoch: bool = False  # also publish the model after each epoch, under epochs/N, for `kaiwa select`
    soft_prompt: int = 0  # number of vectors before the conversation to train in place of the weights
    keep: Keep = "last"  # which weights are published: the last, or those of the lowest held-out loss
    patience: int = 0  # evaluations without a lower held-out loss after which training stops (0: never)
    data: DataOptions = field(default_factory=DataOptions, metadata=GROUP)

    def __post_init__(self) -> None:
        for name in ("epochs", "rows", "width", "evaluate_every"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise UserError(f"sft.{name} is {getattr(self, name)}; it must be at least 1")
        if not self.warmup >= 0:
            raise UserError(f"sft.warmup is {self.warmup}; it must be at least 0")
        if self.lr is not None and not self.lr > 0:
            raise UserError(f"sft.lr is {self.lr}; it must be above 0")
        if not 0 <= self.validation_share < 1:
            raise UserError(f"sft.validation_share is {self.validation_share}; it must be in [0, 1)")
        if not 0 <= self.dropout < 1:
            raise UserError(f"sft.dropout is {self.dropout}; it must be in [0, 1)")
        if self.every_epoch and (self.lora_rank or self.soft_prompt):
            raise UserError("sft.every_epoch publishes whole models; leave lora_rank and soft_prompt at 0")
        for name in ("pretrain_rows", "batch", "lora_rank", "soft_prompt", "patience"):
            if (getattr(self, name) or 0) < 0:
                raise UserError(f"sft.{name} is {getattr(self, name)}; it must be at least 0")
