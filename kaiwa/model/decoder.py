"""The decoder: GPT-3's (Brown et al., 2020, section 2.1) and LLaMA's (Touvron et al., 2023, section 2.2) in one file.

Legend of shapes: B rows, T positions in a row, S positions a query may look at, D d_model, H heads, K key/value heads,
E size of a head, V vocabulary.

The model knows nothing of devices, batching or caches beyond the `attend` function: training attends within the row,
the engine within its cache. GPT-3's alternating banded attention is left out (dense everywhere).
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kaiwa.model import kernels
from kaiwa.model.config import DecoderConfig, RopeScaling

# (layer, q [B,T,H,E], k [B,T,K,E], v [B,T,K,E]) -> [B,T,H,E]; q and k already carry their positions.
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


class RMSNorm(nn.Module):
    """LLaMA's norm: x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich, 2019), computed in fp32."""

    def __init__(self, d: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return the norm of x [..., d] in x's type."""
        y = kernels.rms_norm(x, self.weight, self.eps)
        if y is None:
            y = F.rms_norm(x.float(), (x.shape[-1],), self.weight.float(), self.eps).to(x.dtype)
        return y


class LayerNorm(nn.LayerNorm):
    """GPT-3's norm (Ba et al., 2016), computed in fp32."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the norm of x [..., d] in x's type."""
        return F.layer_norm(x.float(), self.normalized_shape, self.weight.float(), self.bias.float(), self.eps).to(
            x.dtype
        )


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)). Query, key and value are one product; so are gate and up."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        c, bias = config, config.dialect == "gpt3"
        self.layer, self.config = layer, config
        self.norm_attn = make_norm(c)
        self.qkv = nn.Linear(c.d_model, (c.n_head + 2 * c.kv_heads) * c.d_head, bias=bias or c.qkv_bias)
        self.norm_q = RMSNorm(c.d_head, c.norm_eps) if c.qk_norm else None
        self.norm_k = RMSNorm(c.d_head, c.norm_eps) if c.qk_norm else None
        self.out = nn.Linear(c.n_head * c.d_head, c.d_model, bias=bias or c.out_bias)
        self.norm_mlp = make_norm(c)
        self.up = nn.Linear(c.d_model, c.d_ff * (1 if bias else 2), bias=bias)  # llama: gate then up
        self.down = nn.Linear(c.d_ff, c.d_model, bias=bias)
        self.norm_out = make_norm(c) if c.post_norms else None
        self.norm_down = make_norm(c) if c.post_norms else None
        self.dropout = 0.0  # of what is added to the residual stream (see `residual_dropout`)

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor] | None, attend: Attend, at: Tensor | None = None
    ) -> Tensor:
        """Return the residual stream x [B,T,D] after the block, or only its positions `at` [n].

        rotary: cosines and sines [B,T,1,E/2], None for learned positions. Positions outside `at` give keys and values
        only.
        """
        c = self.config
        B, T, _ = x.shape
        parts = self.qkv(self.norm_attn(x)).view(B, T, -1, c.d_head)
        if rotary is not None and self.norm_q is None:
            q, k, v = rotate_both(parts, c.n_head, c.kv_heads, *rotary)
        else:
            q, k, v = parts.split([c.n_head, c.kv_heads, c.kv_heads], dim=2)
        if rotary is not None and self.norm_q is not None and self.norm_k is not None:
            q, k = rotate(self.norm_q(q), *rotary), rotate(self.norm_k(k), *rotary)
        if at is not None:
            q, x = q.index_select(1, at), x.index_select(1, at)
        added = self.out(attend(self.layer, q, k, v).flatten(2))
        x = x + self._drop(added if self.norm_out is None else self.norm_out(added))
        h = self.up(self.norm_mlp(x))
        added = self.down(gated(h, c.gate) if c.dialect == "llama" else F.gelu(h, approximate="tanh"))
        return x + self._drop(added if self.norm_down is None else self.norm_down(added))

    def _drop(self, added: Tensor) -> Tensor:
        return F.dropout(added, self.dropout) if self.dropout else added


class Decoder(nn.Module):
    """The whole model: embedding, blocks, last norm, unembedding."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = embedding(config.vocab_size, config.d_model)
        self.positions = embedding(config.max_length, config.d_model) if config.dialect == "gpt3" else None
        self.blocks = nn.ModuleList(Block(config, i) for i in range(config.n_layer))
        self.norm = make_norm(config)
        self.unembed = nn.Linear(config.d_model, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.unembed.weight = self.embed.weight

    def forward(self, ids: Tensor, positions: Tensor, attend: Attend, at: Tensor | None = None) -> Tensor:
        """Return hidden states after the last norm [B,T,D] of ids, positions [B,T] (int64).

        at [n]: only the states [B,n,D] of these positions are returned.
        """
        x = self.embedded(ids, positions)
        rotary = rotary_by_layer(positions, self.config)
        for number, block in enumerate(self.blocks, 1):
            x = block(x, rotary[number - 1], attend, at if number == len(self.blocks) else None)
        return self.norm(x)  # type: ignore[no-any-return]

    def embedded(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Return the input [B,T,D] of the first block for ids, positions [B,T]."""
        x = self.embed(ids)
        if self.config.scaled_embedding:
            x = x * math.sqrt(self.config.d_model)
        return x if self.positions is None else x + self.positions(positions)  # type: ignore[no-any-return]

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits [..., V] of hidden states [..., D]."""
        return self.unembed(hidden)  # type: ignore[no-any-return]


@contextlib.contextmanager
def residual_dropout(model: Decoder, share: float, seed: int) -> Iterator[None]:
    """Drop a share of each block's addition, inside a `with` block (GPT-2's residual dropout); torch is seeded with
    `seed`.
    """
    if share:
        torch.manual_seed(seed)
    blocks = [block for block in model.blocks if isinstance(block, Block)]
    for block in blocks:
        block.dropout = share
    try:
        yield
    finally:
        for block in blocks:
            block.dropout = 0.0


def embedding(n: int, d: int) -> nn.Embedding:
    """Return an embedding [n,d] of zeros.

    torch's own way to fill an embedding imports all of torch.compile (70 MB, a second) on the meta device.
    """
    table: nn.Embedding = nn.Embedding.from_pretrained(torch.zeros(n, d), freeze=False)
    return table


def make_norm(config: DecoderConfig) -> nn.Module:
    """Return the dialect's norm over d_model."""
    if config.dialect == "llama":
        return RMSNorm(config.d_model, config.norm_eps)
    return LayerNorm(config.d_model, eps=config.norm_eps)


def rotary_frequencies(config: DecoderConfig, device: torch.device | None = None) -> Tensor:
    """Return the angles per position [E/2], fp32 (Su et al., 2021), scaled as `config.rope` says."""
    c, rope = config, config.rope
    plain = c.rope_theta ** (-torch.arange(0, c.d_head, 2, device=device, dtype=torch.float32) / c.d_head)
    if rope.kind == "none":
        return plain
    if rope.kind == "linear":
        return plain / rope.factor
    if rope.kind == "yarn":
        low, high = (yarn_dimension(c, turns) for turns in (rope.high_factor, rope.low_factor))
        low, high = (math.floor(low), math.ceil(high)) if rope.whole else (low, high)
        low, high = max(low, 0), min(high, c.d_head - 1)
        ramp = torch.arange(c.d_head // 2, device=device, dtype=torch.float32) - low
        keep = 1 - (ramp / (high - low if high != low else 0.001)).clamp(0, 1)
        return plain * (keep + (1 - keep) / rope.factor)
    turns = rope.original_length * plain / (2 * math.pi)
    keep = ((turns - rope.low_factor) / (rope.high_factor - rope.low_factor)).clamp(0, 1)
    return plain * (keep + (1 - keep) / rope.factor)


def yarn_dimension(config: DecoderConfig, turns: float) -> float:
    """Return the pair of dimensions that turns so many times within the original length (YaRN, equation 14 solved for
    d)."""
    length = config.rope.original_length
    return config.d_head * math.log(length / (turns * 2 * math.pi)) / (2 * math.log(config.rope_theta))


def rotary_angles(positions: Tensor, config: DecoderConfig) -> tuple[Tensor, Tensor]:
    """Return cosines and sines [B,T,1,E/2], fp32, of positions [B,T] (LLaMA's halves, not pairs)."""
    angles = positions.float()[..., None, None] * rotary_frequencies(config, positions.device)
    return angles.cos() * config.rope.attention, angles.sin() * config.rope.attention


def rotary_by_layer(positions: Tensor, config: DecoderConfig) -> list[tuple[Tensor, Tensor] | None]:
    """Return each layer's cosines and sines [B,T,1,E/2] of positions [B,T]; None in the gpt3 dialect."""
    if config.dialect == "gpt3":
        return [None] * config.n_layer
    whole = rotary_angles(positions, config)
    if not config.local_every:
        return [whole] * config.n_layer
    plain = dataclasses.replace(config, rope_theta=config.local_theta, rope=RopeScaling(), local_every=0)
    local = rotary_angles(positions, plain)
    return [local if config.is_local(layer) else whole for layer in range(config.n_layer)]


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate x [B,T,*,E]: the first half of a head against the second."""
    a, b = x.float().chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).to(x.dtype)


def rotate_both(x: Tensor, n_head: int, kv_heads: int, cos: Tensor, sin: Tensor) -> tuple[Tensor, ...]:
    """Return query and key rotated, and value unchanged, of x [B,T,H+2K,E], which may be changed."""
    rotated = kernels.rotate(x, n_head + kv_heads, cos, sin)
    if rotated is not None:
        return rotated.split([n_head, kv_heads, kv_heads], dim=2)  # type: ignore[no-untyped-call,no-any-return]
    both = rotate(x[:, :, : n_head + kv_heads], cos, sin)
    return both[:, :, :n_head], both[:, :, n_head:], x[:, :, n_head + kv_heads :]


def gated(h: Tensor, gate: str) -> Tensor:
    """Return the activation of gate times up [...,f] of gate then up [...,2f]. gate: "silu" or "gelu"."""
    if gate == "silu":
        return swiglu(h)
    a, up = h.chunk(2, dim=-1)
    return F.gelu(a, approximate="tanh") * up


def swiglu(h: Tensor) -> Tensor:
    """Return silu(gate) * up [...,f] of gate then up [...,2f]."""
    y = kernels.swiglu(h)
    if y is None:
        gate, up = h.chunk(2, dim=-1)
        y = F.silu(gate) * up
    return y


def attend_rows(mask: Tensor | None) -> Attend:
    """Return attention within each row. mask [B,1,T,T] (True: may look) or None for plain causal attention."""

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        out = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=q.shape[1] != k.shape[1]
        )
        return out.transpose(1, 2)

    return attend


def segment_mask(segments: Tensor) -> Tensor:
    """Return the causal mask [B,1,T,T] within documents, for segments [B,T] (one number per document in a packed
    row)."""
    T = segments.shape[1]
    causal = torch.ones(T, T, dtype=torch.bool, device=segments.device).tril()
    return ((segments[:, :, None] == segments[:, None, :]) & causal)[:, None]


def initialise(model: Decoder, generator: torch.Generator) -> None:
    """Fill the weights as GPT-2 does: N(0, 0.02), residual products by 1/sqrt(2 L) (Radford et al., 2019, section
    2.3)."""
    residual = 0.02 / math.sqrt(2 * model.config.n_layer)
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            if parameter.ndim >= 2:
                deep = name.endswith(("out.weight", "down.weight"))
                parameter.normal_(0.0, residual if deep else 0.02, generator=generator)
            elif name.endswith("bias"):
                parameter.zero_()
            else:
                parameter.fill_(1.0)


def make_decoder(config: DecoderConfig, seed: int) -> Decoder:
    """Return a decoder with weights initialised from a seed."""
    model = Decoder(config)
    initialise(model, torch.Generator().manual_seed(seed))
    return model
