"""The quantization stage's settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kaiwa.core.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeConfig:
    """The method and its parameters. rtn rounds each weight to the nearest level; gptq rounds one column after another
    and adjusts the columns that follow."""

    method: Literal["rtn", "gptq"] = "rtn"
    group: int = 32  # weights that share a scale
    evaluate_rows: int = 16  # held-out rows per source for the perplexity before and after
    width: int = 256
    # gptq only
    symmetric: bool = False  # zero point 8 everywhere, as other programs' fastest kernels require
    act_order: bool = True  # round columns with large inputs first
    static_groups: bool = True  # fit grids beforehand, so that act-order needs no permutation when the model runs
    damping: float = 0.01  # share of the Hessian's mean diagonal added to the diagonal
    calibration_rows: int = 64  # rows of training text
    head: bool = False  # quantize the unembedding too, untied from the embedding

    def __post_init__(self) -> None:
        if self.group not in (32, 64, 128):
            raise UserError(f"quantize.group is {self.group}; it must be 32, 64 or 128")
        if not 0 < self.damping <= 1:
            raise UserError(f"quantize.damping is {self.damping}; it must be above 0 and at most 1")
        for name in ("calibration_rows", "evaluate_rows", "width"):
            if getattr(self, name) < 1:
                raise UserError(f"quantize.{name} is {getattr(self, name)}; it must be at least 1")
        if self.method == "rtn" and self.head:
            raise UserError("quantize.head needs --method gptq; round to nearest leaves the head as it is")
