"""Learning rates where none is given: one table by method and number of weights, for the command line and the API.

Small models are trained from scratch on this machine and take large steps; a model of others forgets at such a rate
(SmolLM2-135M at 5e-4: held-out loss 1.36 before, 1.53 after; at 2e-5: 1.04). Sources: InstructGPT's appendix C for the
large ones (SFT 9.65e-6, reward model 9e-6); Rafailov et al. and Hu et al. for DPO and LoRA; the rest by trial.
"""

from __future__ import annotations

from typing import Literal

Method = Literal["sft", "soft prompt", "dpo", "reward", "rlhf", "value"]
SMALL, MEDIUM = 50_000_000, 1_000_000_000  # weights: up to SMALL, up to MEDIUM, above
# method, with "lora" for a low-rank change -> rates of small, medium and large models
RATES = {
    "sft": (5e-4, 2e-5, 1e-5),
    "sft lora": (5e-4, 2e-4, 1e-4),
    "soft prompt": (1e-2, 1e-2, 1e-2),
    "dpo": (1e-4, 5e-6, 1e-6),
    "dpo lora": (2e-4, 5e-5, 2e-5),
    "reward": (1e-3, 2e-5, 9e-6),
    "reward lora": (1e-3, 2e-4, 1e-4),
    "rlhf": (1e-4, 5e-6, 1e-6),
    "rlhf lora": (1e-4, 1e-4, 5e-5),
    "value": (2e-4, 1e-5, 9e-6),
    "value lora": (2e-4, 2e-4, 1e-4),
}


def learning_rate(method: Method, parameters: int, lora: bool = False) -> float:
    """Return the peak learning rate for a method and a model of so many weights."""
    size = 0 if parameters <= SMALL else 1 if parameters <= MEDIUM else 2
    return RATES[f"{method} lora" if lora and method != "soft prompt" else method][size]
