"""The decode step with as few operations as plain PyTorch allows: a new token for each of n rows.

For a single row, half of the time is arithmetic and half is starting operations, so the step spells out the LLaMA
dialect on [n, D] matrices: no casts back and forth, all layers' cache slices at once, grouped heads as rows of a single
attention product. The residual stream is fp32. `Decoder.forward` with a cache is the slow twin (a test compares them);
the GPT-3 dialect always uses `Decoder.forward`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kaiwa.engine.rows.kv_cache import KVCache
from kaiwa.engine.rows.torch_adapters import Changes
from kaiwa.model.decoder import Block, Decoder
from kaiwa.model.int4 import FEW_ROWS, Int4Linear
from kaiwa.model.rotary import rotary_frequencies

Linear = Callable[[Tensor], Tensor]


@dataclass(slots=True)
class Layer:
    """The weights and products of a block, ready to be called on [n, in]."""

    norm_attn: nn.Parameter
    norm_q: nn.Parameter | None
    norm_k: nn.Parameter | None
    qkv: Linear
    out: Linear
    norm_mlp: nn.Parameter
    up: Linear
    down: Linear


class TorchStep:
    """The step over the decoder's own parameters: a training step changes the results of the next call."""

    def __init__(self, decoder: Decoder) -> None:
        c, device = decoder.config, decoder.embed.weight.device
        self.decoder, self.config = decoder, c
        self.layers = [_layer(block) for block in decoder.blocks]  # type: ignore[arg-type]
        frequencies = rotary_frequencies(c, device)
        self.frequencies = torch.cat((frequencies, frequencies))
        half = torch.ones(c.d_head // 2, device=device)
        self.sign = torch.cat((-half, half)) * c.rope.attention
        self.eps = torch.tensor(c.norm_eps, device=device)

    def __call__(
        self, ids: Tensor, lengths: Tensor, longest: int, cache: KVCache, changes: Changes | None = None
    ) -> Tensor:
        """Compute a token for each of n rows, ids [n]. Return hidden states [n,D].

        lengths [n] (positions each row holds already), on the CPU; longest = max(lengths). Each new key and value is
        written at the row's own length; the cache must have room. changes: rows' adapters.
        """
        c, n = self.config, len(ids)
        H, K, E = c.n_head, c.kv_heads, c.d_head
        dtype = self.decoder.embed.weight.dtype
        at = lengths.to(ids.device)
        angles = at[:, None, None].float() * self.frequencies
        cos, sin = angles.cos() * c.rope.attention, angles.sin() * self.sign
        pairs = cache.buffer[:, :, :n, :, : longest + 1]
        keys, values = pairs[:, 0].unbind(0), pairs[:, 1].unbind(0)
        write, mask = _writer(pairs, lengths, longest)
        x = (self.decoder.embed(ids) if changes is None else changes.embed(ids, self.decoder.embed)).float()

        def product(i: int, part: str, linear: Linear, x: Tensor) -> Tensor:
            return linear(x) if changes is None else changes.add(i, part, x, linear(x))

        for i, layer in enumerate(self.layers):
            qkv = product(i, "qkv", layer.qkv, self._norm(x, layer.norm_attn, dtype)).view(n, H + 2 * K, E)
            qk = qkv[:, : H + K]
            if layer.norm_q is not None and layer.norm_k is not None:
                q, k = (
                    self._norm(qk[:, :H].float(), layer.norm_q, dtype),
                    self._norm(qk[:, H:].float(), layer.norm_k, dtype),
                )
                qk = torch.cat((q, k), dim=1)
            qk = torch.addcmul(qk * cos, qk.roll(E // 2, -1), sin)
            write(i, qk[:, H:], qkv[:, H + K :])
            q = qk[:, :H].reshape(n, K, H // K, E).to(cache.dtype)
            heads = F.scaled_dot_product_attention(q, keys[i], values[i], attn_mask=mask)
            x += product(i, "out", layer.out, heads.reshape(n, H * E).to(dtype))
            gate, up = product(i, "up", layer.up, self._norm(x, layer.norm_mlp, dtype)).chunk(2, dim=-1)
            x += product(i, "down", layer.down, F.silu(gate).mul_(up))
        return self._norm(x, self.decoder.norm.weight, dtype)  # type: ignore[arg-type]

    def _norm(self, x: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = torch.addcmul(self.eps, length, length, value=1.0 / x.shape[-1]).rsqrt_()
        out = torch.empty(x.shape, dtype=dtype, device=x.device)
        return torch.mul(x * scale, weight, out=out)


def _writer(
    pairs: Tensor, lengths: Tensor, longest: int
) -> tuple[Callable[[int, Tensor, Tensor], None], Tensor | None]:
    """Return the writer of a layer's keys and values, and a mask or None, for pairs [layer,2,n,K,S,E], lengths [n]."""
    n = len(lengths)
    if n == 1 or bool((lengths == longest).all()):
        last = pairs[:, :, :, :, longest]
        new_keys, new_values = last[:, 0].unbind(0), last[:, 1].unbind(0)

        def write_even(layer: int, k: Tensor, v: Tensor) -> None:
            new_keys[layer].copy_(k)
            new_values[layer].copy_(v)

        return write_even, None
    device = pairs.device
    rows, at = torch.arange(n, device=device), lengths.to(device, copy=True)
    mask = (torch.arange(longest + 1, device=device) <= at[:, None])[:, None, None]

    def write(layer: int, k: Tensor, v: Tensor) -> None:
        pairs[layer, 0][rows, :, at] = k.to(pairs.dtype)
        pairs[layer, 1][rows, :, at] = v.to(pairs.dtype)

    return write, mask


def _layer(block: Block) -> Layer:
    return Layer(
        norm_attn=block.norm_attn.weight,  # type: ignore[arg-type,union-attr]
        norm_q=None if block.norm_q is None else block.norm_q.weight,
        norm_k=None if block.norm_k is None else block.norm_k.weight,
        qkv=_linear(block.qkv),
        out=_linear(block.out),
        norm_mlp=block.norm_mlp.weight,  # type: ignore[arg-type,union-attr]
        up=_linear(block.up),
        down=_linear(block.down),
    )


def _linear(module: nn.Module) -> Linear:
    """Return a module's product on [n, in] without the module's call."""
    if isinstance(module, Int4Linear):
        if not module.packs or module.bias is not None or module.order is not None or module.dense is None:
            return module
        few, packed, group, scales = FEW_ROWS, module.packed, module.group, module.scales_and_zeros
        dense = module.dense
        product = torch.ops.aten._weight_int4pack_mm_for_cpu

        def int4(x: Tensor) -> Tensor:
            return product(x, packed, group, scales) if len(x) <= few else F.linear(x, dense)

        return int4
    if not isinstance(module, nn.Linear):
        return module  # parts of different kinds side by side
    return lambda x: F.linear(x, module.weight, module.bias)
