"""What quantization needs to know."""

from __future__ import annotations

from dataclasses import dataclass

from kaiwa.core.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeConfig:
    group: int = 32  # weights that share a scale
    evaluate_rows: int = 16  # held-out rows a source for the perplexity before and after
    width: int = 256

    def __post_init__(self) -> None:
        if self.group not in (32, 64, 128):
            raise UserError(f"quantize.group is {self.group}; it must be 32, 64 or 128")
