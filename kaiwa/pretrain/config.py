"""The configuration of pretraining."""

from __future__ import annotations

from dataclasses import dataclass, field

from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainConfig:
    model: DecoderConfig = field(default_factory=DecoderConfig)  # vocab_size is taken from the tokenizer
    steps: int = 1300
    rows: int = 8  # rows per step
    microbatch: int = 8  # rows per forward pass; does not change the gradient
    width: int = 256  # tokens per row
    lr: float = 3e-3
    beta1: float = 0.9
    beta2: float = 0.95
    weight_decay: float = 0.05
    max_norm: float = 1.0
    warmup: int = 30
    decay_share: float = 0.5  # share of the steps over which the learning rate falls
    floor: float = 0.05
    compile: bool = True
    evaluate_every: int = 100
    evaluate_rows: int = 16  # held-out rows per source
    in_order: tuple[str, ...] = ()  # sources whose first epoch keeps the order of their file
    sources: tuple[str, ...] = ()  # names; () means all, in the corpus' proportions
    weights: tuple[float, ...] = ()  # share of the rows for each of `sources`

    def __post_init__(self) -> None:
        for name in ("steps", "rows", "microbatch", "width", "evaluate_every", "evaluate_rows"):
            if getattr(self, name) < 1:
                raise UserError(f"pretrain.{name} is {getattr(self, name)}; it must be at least 1")
        if self.rows % self.microbatch:
            raise UserError(f"pretrain.rows {self.rows} is not a multiple of microbatch {self.microbatch}")
        if self.width > self.model.max_length:
            raise UserError(f"pretrain.width {self.width} is more than model.max_length {self.model.max_length}")
        if len(self.sources) != len(self.weights):
            raise UserError(f"pretrain has {len(self.sources)} sources but {len(self.weights)} weights")
        if not 0 < self.lr < 1:
            raise UserError(f"pretrain.lr is {self.lr}; it must be between 0 and 1 (a usual value is 3e-3)")
