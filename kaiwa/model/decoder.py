"""The decoder: GPT-3's (Brown et al., 2020, section 2.1) and LLaMA's (Touvron et al., 2023, section 2.2) in one file.

Legend of shapes: B rows, T positions in a row, N tokens, D d_model, H heads, K key/value heads, E size of a head, R
rotated dimensions of a head, V vocabulary.

The model knows nothing of devices, batching or caches beyond the `attend` function: training attends within the row,
the engine within its cache. GPT-3's alternating banded attention is left out (dense everywhere).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kaiwa.model import kernels
from kaiwa.model.attention import Attend, Limits
from kaiwa.model.config import DecoderConfig
from kaiwa.model.rotary import rotary_by_layer, rotate, rotate_both


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


class Expert(nn.Module):
    """One feed-forward part of several: gate then up in one product, then down."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.d_model, 2 * config.d_ff, bias=False)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=False)


class Experts(nn.Module):
    """A router and its experts: each token's result is the weighted sum of its `n_active` best-routed experts."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.router = nn.Linear(config.d_model, config.experts.n_experts, bias=False)
        self.experts = nn.ModuleList(Expert(config) for _ in range(config.experts.n_experts))

    def forward(self, x: Tensor) -> Tensor:
        """Return the feed-forward part's result [B,T,D] of x [B,T,D]. Experts that no token needs are not computed."""
        tokens, e = x.flatten(0, 1), self.config.experts
        shares, chosen = self.router(tokens).float().softmax(-1).topk(e.n_active, dim=-1)  # [N, n_active]
        if e.normalised:
            shares = shares / shares.sum(-1, keepdim=True)
        out = torch.zeros_like(tokens)
        for number in chosen.unique().tolist():
            expert = self.experts[number]
            rows, place = (chosen == number).nonzero(as_tuple=True)
            added = expert.down(gated(expert.up(tokens[rows]), self.config.activation))
            out.index_add_(0, rows, added * shares[rows, place, None].to(added.dtype))
        return out.view(x.shape)


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)). Query, key and value are one product; so are gate and up."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        c, bias = config, config.dialect == "gpt3"
        before, after = c.norms != "after", c.norms != "before"
        self.layer, self.config = layer, config
        self.limits = Limits(c.layer_window(layer), c.scales.attention_cap)
        self.norm_attn = make_norm(c) if before else None
        self.qkv = nn.Linear(c.d_model, (c.n_head + 2 * c.kv_heads) * c.d_head, bias=bias or c.qkv_bias)
        heads = {"": (0, 0), "head": (1, 1), "all": (c.n_head, c.kv_heads)}[c.qk_norm]
        self.norm_q, self.norm_k = (RMSNorm(n * c.d_head, c.norm_eps) if n else None for n in heads)
        self.out = nn.Linear(c.n_head * c.d_head, c.d_model, bias=bias or c.out_bias)
        self.norm_mlp = make_norm(c) if before else None
        if c.experts.n_experts:
            self.mixture = Experts(c)
        else:
            self.up = nn.Linear(c.d_model, c.d_ff * (1 if bias else 2), bias=bias)  # llama: gate then up
            self.down = nn.Linear(c.d_ff, c.d_model, bias=bias)
        self.norm_out = make_norm(c) if after else None
        self.norm_down = make_norm(c) if after else None
        self.dropout = 0.0  # of what is added to the residual stream (see `residual_dropout`)

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor] | None, attend: Attend, at: Tensor | None = None
    ) -> Tensor:
        """Return the residual stream x [B,T,D] after the block, or only its positions `at` [n].

        rotary: cosines and sines [B,T,1,R/2], None for a layer without. Positions outside `at` give keys and values
        only.
        """
        q, k, v = self._heads(x if self.norm_attn is None else self.norm_attn(x), rotary)
        if at is not None:
            q, x = q.index_select(1, at), x.index_select(1, at)
        added = self.out(attend(self.layer, q, k, v, self.limits).flatten(2))
        middle = x + self._addition(added, self.norm_out)
        inner = x if self.config.parallel else middle
        added = self._feed_forward(inner if self.norm_mlp is None else self.norm_mlp(inner))
        return middle + self._addition(added, self.norm_down)

    def _heads(self, x: Tensor, rotary: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return query [B,T,H,E], key and value [B,T,K,E] of a block's input x [B,T,D], rotated and scaled."""
        c = self.config
        heads = (c.n_head, c.kv_heads, c.kv_heads)
        parts = self.qkv(x).unflatten(-1, (-1, c.d_head))
        if self.norm_q is None and rotary is not None:
            q, k, v = rotate_both(parts, c.n_head, c.kv_heads, *rotary)
        else:
            q, k, v = parts.split(heads, dim=2)
        if self.norm_q is not None and self.norm_k is not None:
            if c.qk_norm == "all":
                q, k = (norm(t.flatten(2)).view(t.shape) for norm, t in ((self.norm_q, q), (self.norm_k, k)))
            else:
                q, k = self.norm_q(q), self.norm_k(k)
            if rotary is not None:
                q, k = rotate(q, *rotary), rotate(k, *rotary)
        if c.scales.attention_scale:
            q = q * (c.scales.attention_scale * math.sqrt(c.d_head))
        return q, k, v

    def _feed_forward(self, x: Tensor) -> Tensor:
        c = self.config
        if c.experts.n_experts:
            return self.mixture(x)  # type: ignore[no-any-return]
        h = self.up(x)
        return self.down(gated(h, c.activation) if c.dialect == "llama" else gelu(h, c.activation))  # type: ignore[no-any-return]

    def _addition(self, result: Tensor, norm: nn.Module | None) -> Tensor:
        """Return what a part's result [B,T,D] adds to the residual stream."""
        result = result if norm is None else norm(result)
        if self.config.scales.residual_scale != 1:
            result = result * self.config.scales.residual_scale
        return F.dropout(result, self.dropout) if self.dropout else result


class Decoder(nn.Module):
    """The whole model: embedding, blocks, last norm, unembedding."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = embedding(config.vocab_size, config.d_model)
        self.positions = embedding(config.max_length, config.d_model) if config.learned_positions else None
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
        if self.config.scales.embedding_scale != 1:
            x = x * self.config.scales.embedding_scale
        return x if self.positions is None else x + self.positions(positions)  # type: ignore[no-any-return]

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits [..., V] of hidden states [..., D]."""
        scales, logits = self.config.scales, self.unembed(hidden)
        if scales.logit_scale != 1:
            logits = logits * scales.logit_scale
        if scales.logit_cap:
            logits = torch.tanh(logits / scales.logit_cap) * scales.logit_cap
        return logits  # type: ignore[no-any-return]


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


def gated(h: Tensor, activation: str) -> Tensor:
    """Return the activation of gate times up [...,f] of gate then up [...,2f]. "": silu."""
    if activation in ("", "silu"):
        return swiglu(h)
    gate, up = h.chunk(2, dim=-1)
    return gelu(gate, activation) * up


def gelu(x: Tensor, activation: str) -> Tensor:
    """Return GELU of x [...] by the error function ("gelu_erf") or by tanh ("", "gelu")."""
    return F.gelu(x, approximate="none" if activation == "gelu_erf" else "tanh")


def swiglu(h: Tensor) -> Tensor:
    """Return silu(gate) * up [...,f] of gate then up [...,2f]."""
    y = kernels.swiglu(h)
    if y is None:
        gate, up = h.chunk(2, dim=-1)
        y = F.silu(gate) * up
    return y


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
