"""The groups of fields in the configuration of reinforcement learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kaiwa.core.errors import UserError

Method = Literal["ppo", "rloo", "grpo"]
EndRule = Literal["worse", "replace", "subtract", "keep"]
Estimator = Literal["k1", "k2", "k3"]
TokenScale = Literal["response", "tokens", "constant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Penalty:
    """The KL penalty that keeps the policy near the SFT model."""

    kl_coefficient: float = 0.1  # β: per-token KL to the SFT model, in the reward (grpo: in the loss)
    kl_estimator: Estimator = "k1"  # estimator of the penalised KL (InstructGPT: k1)
    kl_target: float = 0.0  # KL per response in nats that β adapts to (Ziegler et al.: 6); 0: β is fixed (InstructGPT)
    kl_horizon: int = 10_000  # episodes in which an error of 20 % changes β by 20 %

    def __post_init__(self) -> None:
        check_least(self, "kl_horizon", least=1)
        check_least(self, "kl_coefficient", "kl_target", least=0)
        if self.kl_target and not self.kl_coefficient:
            raise UserError("rlhf.kl_target adapts kl_coefficient, which is 0; start it above 0 (0.1)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Returns:
    """From scores to returns and advantages (rlhf/advantage.py)."""

    gamma: float = 1.0  # discount
    lam: float = 0.95  # λ of GAE (not stated in the paper; earlier papers of its authors use 0.95)
    whiten: bool = True  # normalise PPO's advantages to mean 0, standard deviation 1
    whiten_rewards: bool = False  # scale token rewards to standard deviation 1, mean unchanged (Ziegler et al.: True)
    end_rule: EndRule = "worse"  # rule for the score of a reply that does not end: see rlhf/advantage.py
    missing_end_penalty: float = 1.0  # the penalty p of end_rule

    def __post_init__(self) -> None:
        if not 0 <= self.lam <= 1 or not 0 <= self.gamma <= 1:
            raise UserError(f"rlhf.gamma {self.gamma} and lam {self.lam} must be in [0, 1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """The optimizer's steps, and the moving average of the weights."""

    lr: float | None = None  # None: by method and number of weights (catalog/learning_rates.py)
    value_lr: float | None = None  # the same for the value model
    adam_eps: float = 1e-8
    warmup: int = 10  # updates; the first has 0.1 + 0.9 / warmup (0.19) of the learning rate
    max_norm: float = 1.0
    ema: float = 0.0  # decay of the published moving average of the weights (InstructGPT: 0.992); 0: the last weights

    def __post_init__(self) -> None:
        for name in ("lr", "value_lr", "adam_eps"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise UserError(f"rlhf.{name} is {getattr(self, name)}; it must be above 0")
        if not 0 <= self.ema < 1:
            raise UserError(f"rlhf.ema is {self.ema}; it must be in [0, 1)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretraining:
    """PPO-ptx: the pretraining gradient mixed in (appendix C.4)."""

    ptx_coefficient: float = 0.0  # γ of equation 2: factor of the next-token loss of pretraining rows
    ptx_ratio: float = 0.0  # above 0: set γ at the first step so that its gradient norm is this many times PPO's
    ptx_unit: Literal["mean", "sum"] = "mean"  # loss as the mean over tokens, or as a row's sum averaged over rows
    ptx_rows: int = 4  # pretraining rows per minibatch
    ptx_width: int = 256

    def __post_init__(self) -> None:
        check_least(self, "ptx_coefficient", "ptx_ratio", least=0)
        check_least(self, "ptx_rows", "ptx_width", least=1)
        if self.ptx_ratio and self.ptx_coefficient:
            raise UserError("rlhf.ptx_coefficient and ptx_ratio both set the weight of pretraining; set one to 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrections:
    """Later corrections of GRPO's and PPO's loss; the defaults are the original papers'."""

    group_scale: Literal["std", "none"] = "std"  # grpo: divide by the group's deviation (none: Dr. GRPO)
    token_scale: TokenScale = (
        "response"  # grpo: 1/length a response; tokens: equal tokens (DAPO); constant: 1/max_tokens
    )
    clip_high: float = 0.0  # upper clip of the ratio (DAPO: 0.28); 0: as clip
    mask_cut: bool = False  # leave replies without an end out of the policy's loss (DAPO's overlong filtering)

    def __post_init__(self) -> None:
        check_least(self, "clip_high", least=0)


def check_least(config: object, *names: str, least: int) -> None:
    """Raise UserError for a field of `names` that is below `least`."""
    for name in names:
        if not getattr(config, name) >= least:  # NaN is not
            raise UserError(f"rlhf.{name} is {getattr(config, name)}; it must be at least {least}")
