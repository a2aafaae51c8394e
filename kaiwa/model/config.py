"""The shape of a decoder, and the table of sizes.

GPT-3's sizes are Table 2.1 of Brown et al. (2020) with its two misprints mended: 1.3B has 16 heads of 128 (24 x 128 is
not 2048), and 13B has d_model 5120 (40 x 128 is not 5140).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from kaiwa.core.errors import UserError

Dialect = Literal["llama", "gpt3"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeScaling:
    """Scaling of rotary positions to longer contexts than the model was trained with.

    linear: every frequency divided by `factor` (Chen et al., 2023). llama3: only frequencies that turn less than
    `low_factor` times within `original_length`; frequencies that turn more than `high_factor` times are unchanged, the
    rest is between (Llama 3.1's release). yarn: the same idea with a ramp over the dimensions instead of the turns, and
    cosines and sines times `attention` (Peng et al., 2023, sections 3.2 to 3.4; Qwen2.5's long contexts).
    """

    kind: Literal["none", "linear", "llama3", "yarn"] = "none"
    factor: float = 1.0
    low_factor: float = 1.0
    high_factor: float = 4.0
    original_length: int = 8192
    attention: float = 1.0
    whole: bool = True  # yarn: the ramp begins and ends at whole dimensions

    def __post_init__(self) -> None:
        if self.factor <= 0 or self.original_length < 1:
            raise UserError(f"rope factor {self.factor} over {self.original_length} positions; both must be above 0")
        if self.kind in ("llama3", "yarn") and self.high_factor <= self.low_factor:
            raise UserError(f"rope high_factor {self.high_factor} must be above low_factor {self.low_factor}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """gpt3: LayerNorm, learned positions, GELU, biases. llama: RMSNorm, rotary, SwiGLU, grouped heads, no biases.

    The fields from head_size on are the differences between relatives of LLaMA: Qwen2 has biases on query, key and
    value, Qwen3 a norm on each head of query and key, both (and Mistral) sometimes have heads whose sizes do not add up
    to d_model. Gemma 3 gates with GELU, has a norm after attention and feed-forward part too, multiplies embeddings by
    √d_model, and turns positions by local_theta in all layers but one of local_every.
    """

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
    head_size: int = 0  # 0: d_model / n_head
    qkv_bias: bool = False
    out_bias: bool = False
    qk_norm: bool = False
    rope: RopeScaling = field(default_factory=RopeScaling)
    gate: Literal["silu", "gelu"] = "silu"
    post_norms: bool = False
    scaled_embedding: bool = False
    local_theta: float = 0.0
    local_every: int = 0  # layers; 0: all layers have rope_theta and its scaling

    def __post_init__(self) -> None:
        for name in ("vocab_size", "d_model", "n_layer", "n_head", "d_ff", "max_length"):
            if getattr(self, name) < 1:
                raise UserError(f"model.{name} is {getattr(self, name)}; it must be at least 1")
        if self.n_kv_head < 0 or self.head_size < 0:
            raise UserError(f"model.n_kv_head {self.n_kv_head} and head_size {self.head_size} must not be negative")
        if self.d_model % self.n_head and not self.head_size:
            raise UserError(f"model.d_model {self.d_model} is not a multiple of n_head {self.n_head}")
        if self.n_head % self.kv_heads:
            raise UserError(f"model.n_head {self.n_head} is not a multiple of n_kv_head {self.kv_heads}")
        if self.dialect == "llama" and self.d_head % 2:
            raise UserError(f"rotary positions need an even head size, got {self.d_head}; change d_model or n_head")
        if self.local_every and self.local_theta <= 0:
            raise UserError(f"model.local_theta is {self.local_theta}; with local_every it must be above 0")
        if self.dialect == "gpt3" and (self.head_size or self.qk_norm or self.rope.kind != "none" or self.n_kv_head):
            raise UserError("the gpt3 dialect has plain heads: no head_size, qk_norm, rope or n_kv_head")

    @property
    def kv_heads(self) -> int:
        return self.n_kv_head or self.n_head

    @property
    def d_head(self) -> int:
        return self.head_size or self.d_model // self.n_head

    def is_local(self, layer: int) -> bool:
        """Return whether a layer (from 0) turns positions by local_theta, without scaling."""
        return bool(self.local_every) and (layer + 1) % self.local_every != 0

    @property
    def block_products(self) -> int:
        """Weights of one block's four products."""
        d, q, kv = self.d_model, self.n_head * self.d_head, self.kv_heads * self.d_head
        return d * (q + 2 * kv) + q * d + (3 if self.dialect == "llama" else 2) * d * self.d_ff

    @property
    def cache_numbers(self) -> int:
        """Numbers of keys and values that one token keeps, over all blocks."""
        return 2 * self.n_layer * self.kv_heads * self.d_head

    @property
    def n_parameters(self) -> int:
        """All weights, the tied unembedding counted once."""
        d, f, q, kv = self.d_model, self.d_ff, self.n_head * self.d_head, self.kv_heads * self.d_head
        unembedding = 0 if self.tie_embeddings else self.vocab_size * d
        if self.dialect == "llama":
            block = self.block_products + 2 * d
            block += self.qkv_bias * (q + 2 * kv) + self.out_bias * d + self.qk_norm * 2 * self.d_head
            block += self.post_norms * 2 * d
            return self.vocab_size * d + unembedding + self.n_layer * block + d
        block = self.block_products + 3 * d + d + f + d + 4 * d
        return self.vocab_size * d + unembedding + self.max_length * d + self.n_layer * block + 2 * d


def gpt3(n_layer: int, d_model: int, n_head: int, vocab_size: int = 50257, max_length: int = 2048) -> DecoderConfig:
    """Return the shape of a GPT-3 model, whose feed-forward part is four times as wide."""
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
