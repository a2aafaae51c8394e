"""The shape of a decoder, and the table of sizes.

GPT-3's sizes are Table 2.1 of Brown et al. (2020) with its two misprints mended: 1.3B has 16 heads of 128 (24 x 128 is
not 2048), and 13B has d_model 5120 (40 x 128 is not 5140).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kaiwa.core.errors import UserError

Dialect = Literal["llama", "gpt3"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """gpt3: LayerNorm, learned positions, GELU, biases. llama: RMSNorm, rotary, SwiGLU, grouped heads, no biases."""

    dialect: Dialect = "llama"
    vocab_size: int = 3072
    d_model: int = 256
    n_layer: int = 4
    n_head: int = 4
    n_kv_head: int = 0  # 0: as many as n_head
    d_ff: int = 640
    max_length: int = 256
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    tie_embeddings: bool = True

    def __post_init__(self) -> None:
        for name in ("vocab_size", "d_model", "n_layer", "n_head", "d_ff", "max_length"):
            if getattr(self, name) < 1:
                raise UserError(f"model.{name} is {getattr(self, name)}; it must be at least 1")
        if self.d_model % self.n_head:
            raise UserError(f"model.d_model {self.d_model} is not a multiple of n_head {self.n_head}")
        if self.n_head % self.kv_heads:
            raise UserError(f"model.n_head {self.n_head} is not a multiple of n_kv_head {self.kv_heads}")
        if self.dialect == "llama" and self.d_head % 2:
            raise UserError(f"rotary positions need an even head size, got {self.d_head}; change d_model or n_head")

    @property
    def kv_heads(self) -> int:
        return self.n_kv_head or self.n_head

    @property
    def d_head(self) -> int:
        return self.d_model // self.n_head

    @property
    def n_parameters(self) -> int:
        """All weights, the tied unembedding counted once."""
        d, f, kv = self.d_model, self.d_ff, self.kv_heads * self.d_head
        unembedding = 0 if self.tie_embeddings else self.vocab_size * d
        if self.dialect == "llama":
            block = d * (d + 2 * kv) + d * d + 3 * d * f + 2 * d
            return self.vocab_size * d + unembedding + self.n_layer * block + d
        block = d * 3 * d + 3 * d + d * d + d + 2 * d * f + f + d + 4 * d
        return self.vocab_size * d + unembedding + self.max_length * d + self.n_layer * block + 2 * d


def gpt3(n_layer: int, d_model: int, n_head: int, vocab_size: int = 50257, max_length: int = 2048) -> DecoderConfig:
    return DecoderConfig(
        dialect="gpt3",
        vocab_size=vocab_size,
        d_model=d_model,
        n_layer=n_layer,
        n_head=n_head,
        d_ff=4 * d_model,
        max_length=max_length,
    )


SIZES: dict[str, DecoderConfig] = {
    "gpt3-125m": gpt3(12, 768, 12),
    "gpt3-350m": gpt3(24, 1024, 16),
    "gpt3-760m": gpt3(24, 1536, 16),
    "gpt3-1.3b": gpt3(24, 2048, 16),
    "gpt3-2.7b": gpt3(32, 2560, 32),
    "gpt3-6.7b": gpt3(32, 4096, 32),
    "gpt3-13b": gpt3(40, 5120, 40),
    "gpt3-175b": gpt3(96, 12288, 96),
}
