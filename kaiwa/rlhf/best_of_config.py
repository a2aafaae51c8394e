"""The configuration of best of N."""

from __future__ import annotations

from dataclasses import dataclass

from kaiwa.core.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class BestOfConfig:
    n: int = 16
    max_tokens: int = 32
    temperature: float = 1.0
    block: int = 32  # prompts answered between two checkpoints
    microbatch: int = 32  # replies scored per forward pass

    def __post_init__(self) -> None:
        for name in ("n", "max_tokens", "block", "microbatch"):
            if getattr(self, name) < 1:
                raise UserError(f"best_of.{name} is {getattr(self, name)}; it must be at least 1")
