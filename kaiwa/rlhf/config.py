"""What PPO needs to know. The paper's β = 0.02 and γ = 27.8 do not transfer to small models: see docs/rlhf.md."""

from __future__ import annotations

from dataclasses import dataclass

from kaiwa.core.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class RLHFConfig:
    updates: int = 80
    batch: int = 64  # episodes an update
    minibatches: int = 2  # optimizer steps an epoch
    epochs: int = 1  # passes over the batch (InstructGPT: 1)
    microbatch: int = 16  # episodes a forward pass; the gradient does not depend on it
    max_tokens: int = 32
    temperature: float = 1.0
    kl_coefficient: float = 0.1  # β: per-token KL to the SFT model in the reward
    gamma: float = 1.0  # discount
    lam: float = 0.95  # GAE (not stated in the paper; its lineage uses 0.95)
    clip: float = 0.2
    value_clip: float = 0.5
    whiten: bool = True  # advantages to mean 0, standard deviation 1
    missing_end_penalty: float = 1.0  # a reply that does not end gets min(score, 0) - this
    lr: float = 1e-4
    value_lr: float = 2e-4
    warmup: int = 10  # updates; the rate starts at 0.1 + 0.9 / warmup of itself: 0.19
    max_norm: float = 1.0
    ptx_coefficient: float = 0.0  # γ of equation 2: times the mean next-token loss of pretraining rows
    ptx_rows: int = 4  # pretraining rows a minibatch
    ptx_width: int = 256
    ema: float = 0.0  # decay of the published average of the weights (InstructGPT: 0.992); 0: the last weights
    evaluate_every: int = 10

    def __post_init__(self) -> None:
        for name in ("updates", "batch", "minibatches", "epochs", "microbatch", "max_tokens", "evaluate_every"):
            if getattr(self, name) < 1:
                raise UserError(f"rlhf.{name} is {getattr(self, name)}; it must be at least 1")
        if self.batch % self.minibatches:
            raise UserError(f"rlhf.batch {self.batch} is not a multiple of minibatches {self.minibatches}")
        if not 0 <= self.lam <= 1 or not 0 <= self.gamma <= 1:
            raise UserError(f"rlhf.gamma {self.gamma} and lam {self.lam} must be in [0, 1]")
        if not 0 <= self.ema < 1:
            raise UserError(f"rlhf.ema is {self.ema}; it must be in [0, 1)")
        if self.temperature <= 0:
            raise UserError(f"rlhf.temperature is {self.temperature}; rollouts need a temperature above 0")
