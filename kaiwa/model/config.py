"""The shape of a decoder, and the table of sizes.

GPT-3's sizes are Table 2.1 of Brown et al. (2020) with its two misprints mended: 1.3B has 16 heads of 128 (24 x 128 is
not 2048), and 13B has d_model 5120 (40 x 128 is not 5140).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Literal

from kaiwa.core.errors import UserError

Dialect = Literal["llama", "gpt3"]


def require_finite(config: object) -> None:
    """Raise UserError for a number of a config's that is NaN or infinite."""
    for field_of in dataclasses.fields(config):  # type: ignore[arg-type]
        value = getattr(config, field_of.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{field_of.name} is {value}; a finite number is expected")


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeScaling:
    """Scaling of rotary positions to longer contexts than the model was trained with.

    linear: every frequency divided by `factor` (Chen et al., 2023). llama3: only frequencies that turn less than
    `low_factor` times within `original_length`; frequencies that turn more than `high_factor` times are unchanged, the
    rest is between (Llama 3.1's release). yarn: the same idea with a ramp over the dimensions instead of the turns, and
    cosines and sines times `attention` (Peng et al., 2023, sections 3.2 to 3.4; Qwen2.5's long contexts). longrope:
    every frequency divided by its own of `divisors` [R/2], and `attention` (Ding et al., 2024; Phi-3).
    """

    kind: Literal["none", "linear", "llama3", "yarn", "longrope"] = "none"
    factor: float = 1.0
    low_factor: float = 1.0
    high_factor: float = 4.0
    original_length: int = 8192
    attention: float = 1.0
    whole: bool = True  # yarn: the ramp begins and ends at whole dimensions
    divisors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        require_finite(self)
        if self.factor <= 0 or self.original_length < 1:
            raise UserError(f"rope factor {self.factor} over {self.original_length} positions; both must be above 0")
        if self.kind in ("llama3", "yarn") and self.high_factor <= self.low_factor:
            raise UserError(f"rope high_factor {self.high_factor} must be above low_factor {self.low_factor}")
        if self.kind == "yarn" and self.low_factor <= 0:
            raise UserError(f"rope low_factor {self.low_factor} must be above 0")
        if any(divisor <= 0 for divisor in self.divisors):
            raise UserError(f"rope divisor {min(self.divisors)}; all must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """Factors and caps on the way through a model (Gemma 2 and 3, Granite). The defaults change nothing.

    embedding_scale: times the embeddings. residual_scale: times what a block adds. logit_scale: times the logits.
    attention_scale: times the products of query and key (0: 1 / sqrt(head size)). A cap c turns x into c x tanh(x / c)
    (0: no cap).
    """

    embedding_scale: float = 1.0
    residual_scale: float = 1.0
    logit_scale: float = 1.0
    attention_scale: float = 0.0
    attention_cap: float = 0.0
    logit_cap: float = 0.0

    def __post_init__(self) -> None:
        require_finite(self)
        for name in ("attention_scale", "attention_cap", "logit_cap"):
            if getattr(self, name) < 0:
                raise UserError(f"model.scales.{name} is {getattr(self, name)}; it must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertsConfig:
    """A feed-forward part of experts, of which a router lets `n_active` compute each token (Shazeer et al., 2017;
    Mixtral). normalised: the weights of the active experts add up to 1. n_experts 0: one feed-forward part for every
    token."""

    n_experts: int = 0
    n_active: int = 0
    normalised: bool = True

    def __post_init__(self) -> None:
        if self.n_experts < 0 or (self.n_experts and not 1 <= self.n_active <= self.n_experts):
            raise UserError(f"{self.n_active} of {self.n_experts} experts are active; give 1 to {self.n_experts}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """gpt3: LayerNorm, learned positions, GELU, biases. llama: RMSNorm, rotary, SwiGLU, grouped heads, no biases.

    The fields from head_size on are the differences between relatives: Qwen2 has biases on query, key and value; both
    it and Mistral sometimes have heads whose sizes do not add up to d_model; GPT-NeoX is the gpt3 dialect with rotary
    positions in a part of each head, and attention and feed-forward part side by side.

    qk_norm: a norm on each head of query and key (Qwen3), or on all heads together (OLMo 2). norms: of the parts'
    inputs (before), of their results (after: OLMo 2), or both (around: Gemma). activation: of the feed-forward part;
    "" is the dialect's (silu, gelu by tanh). layers: a letter a layer, repeated over all of them: g sees all positions,
    w a window of them, n has no rotary positions (SmolLM3). d_ff: of one expert where there are experts.
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
    qk_norm: Literal["", "head", "all"] = ""
    rope: RopeScaling = field(default_factory=RopeScaling)
    rotary_size: int = 0  # rotated dimensions of a head; 0: all in the llama dialect, learned positions in gpt3's
    norms: Literal["before", "after", "around"] = "before"
    activation: Literal["", "silu", "gelu", "gelu_erf"] = ""
    parallel: bool = False  # attention and feed-forward part have the same input
    layers: str = "g"
    window: int = 0  # positions that a layer "w" looks back over, the query's own included
    local_theta: float = 0.0  # rope_theta of layers "w", without scaling; 0: as all others
    scales: Scales = field(default_factory=Scales)
    experts: ExpertsConfig = field(default_factory=ExpertsConfig)

    def __post_init__(self) -> None:
        require_finite(self)
        if self.rope_theta <= 0 or self.norm_eps < 0 or self.local_theta < 0:
            raise UserError(f"model.rope_theta {self.rope_theta} must be above 0, norm_eps {self.norm_eps} not below")
        if self.rope.kind == "yarn" and self.rope_theta <= 1:
            raise UserError(f"model.rope_theta is {self.rope_theta}; with rope scaling yarn it must be above 1")
        for name in ("vocab_size", "d_model", "n_layer", "n_head", "d_ff", "max_length"):
            if getattr(self, name) < 1:
                raise UserError(f"model.{name} is {getattr(self, name)}; it must be at least 1")
        if self.n_kv_head < 0 or self.head_size < 0:
            raise UserError(f"model.n_kv_head {self.n_kv_head} and head_size {self.head_size} must not be negative")
        if self.d_model % self.n_head and not self.head_size:
            raise UserError(f"model.d_model {self.d_model} is not a multiple of n_head {self.n_head}")
        if self.n_head % self.kv_heads:
            raise UserError(f"model.n_head {self.n_head} is not a multiple of n_kv_head {self.kv_heads}")
        if self.rotated % 2:
            raise UserError(f"rotary positions need an even head size, got {self.rotated}; change d_model or n_head")
        if not 0 <= self.rotary_size <= self.d_head:
            raise UserError(
                f"model.rotary_size is {self.rotary_size}; it must be from 0 to the head size {self.d_head}"
            )
        if self.rope.divisors and len(self.rope.divisors) != self.rotated // 2:
            raise UserError(f"rope has {len(self.rope.divisors)} divisors for {self.rotated // 2} frequencies")
        if not self.layers or self.layers.strip("gwn"):
            raise UserError(f"model.layers is {self.layers[:40]!r}; it must be letters g, w and n")
        if self.window < 0 or ("w" in self.layers and not self.window):
            raise UserError(f"model.window is {self.window}; layers {self.layers[:40]!r} need one above 0")
        if self.dialect == "gpt3" and (self.head_size or self.qk_norm or self.n_kv_head or self.experts.n_experts):
            raise UserError(
                "the gpt3 dialect has plain heads and one feed-forward part: no head_size, qk_norm, n_kv_head"
            )

    @property
    def kv_heads(self) -> int:
        return self.n_kv_head or self.n_head

    @property
    def d_head(self) -> int:
        return self.head_size or self.d_model // self.n_head

    @property
    def rotated(self) -> int:
        """Rotated dimensions of a head; 0 with learned positions."""
        return self.rotary_size or (self.d_head if self.dialect == "llama" else 0)

    @property
    def learned_positions(self) -> bool:
        return not self.rotated

    def layer_kind(self, layer: int) -> str:
        """Return the letter of a layer (from 0): g, w or n."""
        return self.layers[layer % len(self.layers)]

    def layer_window(self, layer: int) -> int:
        """Return the positions that a layer (from 0) looks back over; 0: all."""
        return self.window if self.layer_kind(layer) == "w" else 0

    @property
    def block_products(self) -> int:
        """Weights of one block's products, those of all experts included."""
        d, q, kv = self.d_model, self.n_head * self.d_head, self.kv_heads * self.d_head
        inner = (3 if self.dialect == "llama" else 2) * d * self.d_ff
        return d * (q + 2 * kv) + q * d + inner * max(1, self.experts.n_experts) + d * self.experts.n_experts

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
            block = self.block_products + 2 * d + (self.norms == "around") * 2 * d
            block += self.qkv_bias * (q + 2 * kv) + self.out_bias * d
            block += {"": 0, "head": 2 * self.d_head, "all": q + kv}[self.qk_norm]
            return self.vocab_size * d + unembedding + self.n_layer * block + d
        block = self.block_products + 3 * d + d + f + d + 4 * d
        positions = self.max_length * d if self.learned_positions else 0
        return self.vocab_size * d + unembedding + positions + self.n_layer * block + 2 * d


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
