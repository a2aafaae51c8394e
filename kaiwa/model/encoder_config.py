"""The shape of an encoder (kaiwa/model/encoder.py), and how its hidden states become an embedding. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from kaiwa.core.errors import UserError

Activation = Literal["gelu", "gelu_tanh", "relu"]
PoolingMode = Literal["mean", "cls", "max", "last"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """The shape of an encoder. n_positions: rows of the position table; the first token takes row `first_position`.

    n_types, n_buckets: rows of the tables of token types and of relative positions (MPNet's), 0 for none.
    """

    vocab_size: int
    d_model: int
    n_layer: int
    n_head: int
    d_ff: int
    n_positions: int
    first_position: int = 0
    n_types: int = 0
    n_buckets: int = 0
    activation: Activation = "gelu"
    norm_eps: float = 1e-12
    pad_id: int = 0

    def __post_init__(self) -> None:
        for name in ("vocab_size", "d_model", "n_layer", "n_head", "d_ff"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; at least 1 is needed", field=name)
        if self.d_model % self.n_head:
            raise UserError(f"d_model {self.d_model} is not a multiple of n_head {self.n_head}", field="n_head")
        if self.max_length < 1:
            raise UserError(f"n_positions {self.n_positions} leaves no place after {self.first_position}")

    @property
    def max_length(self) -> int:
        """The most tokens of a text."""
        return self.n_positions - self.first_position


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolingConfig:
    """How a text becomes one vector.

    mode: the mean, the first, the largest or the last of the hidden states. normalise: scale to length 1. max_length:
    tokens of a text, with the special ones. prompts: texts put before a text, by name, and `default_prompt` is the
    name used when a request names none.
    """

    mode: PoolingMode = "mean"
    normalise: bool = True
    max_length: int
    lowercase: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str = ""
