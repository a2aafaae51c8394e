"""The configuration of best of N."""

from __future__ import annotations

from dataclasses import dataclass, field

from kaiwa.core.config import GROUP
from kaiwa.core.errors import UserError
from kaiwa.text.data import DataOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class BestOfConfig:
    n: int = 16
    max_tokens: int = 32
    temperature: float = 1.0
    block: int = 32  # prompts answered between two checkpoints
    microbatch: int = 32  # replies scored per forward pass
    data: DataOptions = field(default_factory=DataOptions, metadata=GROUP)  # how the prompts are read

    def __post_init__(self) -> None:
        for name in ("n", "max_tokens", "block", "microbatch"):
            if getattr(self, name) < 1:
                raise UserError(f"best_of.{name} is {getattr(self, name)}; it must be at least 1")
