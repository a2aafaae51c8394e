"""The configuration of evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from kaiwa.core.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    prompts: int = 600  # held-out prompts, at most
    max_tokens: int = 40
    temperature: float = 1.0  # of the sampled answers; greedy answers are computed too
    baseline: str = "sft"
    rival: str = ""  # a model against which all are compared on the village's dialogues; "" for a village without any
    margin: float = 0.05  # share of single questions by which a dialogue model may be less helpful than the rival
    bits_margin: float = 0.02  # share by which bits per byte may be higher than the rival's
    real_source: str = "docs"  # source of the real held-out text on which the alignment tax is measured
    evaluate_rows: int = 32  # rows of this text
    width: int = 256

    def __post_init__(self) -> None:
        for name in ("prompts", "max_tokens", "evaluate_rows", "width"):
            if getattr(self, name) < 1:
                raise UserError(f"evaluate.{name} is {getattr(self, name)}; it must be at least 1")
