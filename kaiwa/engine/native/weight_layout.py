"""The weight layout of the C++ step: strips of 16 outputs, a lane for each output (layouts: csrc/products.h)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kaiwa.model.int4 import Int4Linear
from kaiwa.model.int8 import Int8Linear

LANES = 16
GROUP = 32
FP32, BF16, INT4, INT8 = range(4)


@dataclass(frozen=True, slots=True)
class Strips:
    """A packed linear layer. bias [strips x 16] fp32 or None; order [in] int32: which input each column of a 4-bit
    weight belongs to. `placed`: the tensors stay where they are, and the step reads them there."""

    kind: int
    inputs: int
    outputs: int
    group: int
    data: Tensor
    scales: Tensor | None
    bias: Tensor | None
    order: Tensor | None = None
    placed: bool = False


def can_pack(linear: nn.Module) -> bool:
    """Return whether the step can read a layer's weights."""
    if isinstance(getattr(linear, "strips", None), Strips):
        return True
    if isinstance(linear, Int4Linear):
        return linear.packs or linear.dense is not None
    if isinstance(linear, Int8Linear):
        return linear.q.shape[1] % GROUP == 0
    return isinstance(linear, nn.Linear) and linear.weight.dtype in (torch.float32, torch.bfloat16)


def packed_bytes(linear: nn.Module) -> int:
    """Return the size of a layer after `pack`, in bytes."""
    if isinstance(already := getattr(linear, "strips", None), Strips):
        parts = (already.data, already.scales, already.bias, already.order)
        return sum(t.nbytes for t in parts if t is not None)
    if isinstance(linear, Int4Linear):
        weights = linear.in_features * linear.out_features
        width = 0.5 + 4 / linear.group if linear.packs else 0.0 if linear.dense is None else linear.dense.element_size()
        return round(weights * width)
    if isinstance(linear, Int8Linear):
        return linear.q.numel()
    weight = getattr(linear, "weight", None)
    return 0 if weight is None else weight.nbytes


@torch.no_grad()
def pack(linear: nn.Module) -> Strips:
    """Pack a layer's weight [out, in] and bias [out] into strips."""
    if isinstance(already := getattr(linear, "strips", None), Strips):
        return already
    if isinstance(linear, Int8Linear):
        scales = _by_strip(linear.scales.float()[:, None]).contiguous()
        return Strips(INT8, linear.q.shape[1], linear.q.shape[0], 0, pack_int8(linear.q), scales, None)
    if isinstance(linear, Int4Linear) and linear.packs:
        data, scales = pack_int4(linear.codes(), linear.scales_and_zeros)
        bias = _bias(linear.bias)
        order = None if linear.order is None else linear.order.to(torch.int32)
        return Strips(INT4, linear.in_features, linear.out_features, linear.group, data, scales, bias, order)
    assert isinstance(linear, (Int4Linear, nn.Linear))
    weight = linear.dense if isinstance(linear, Int4Linear) else linear.weight
    assert weight is not None
    kind = FP32 if weight.dtype == torch.float32 else BF16
    bias = linear.bias
    return Strips(kind, weight.shape[1], weight.shape[0], 0, pack_dense(weight), None, _bias(bias))


def _by_strip(rows: Tensor) -> Tensor:
    """Return rows [out, ...] as [strips, 16, ...], the last strip filled with zeros."""
    missing = -len(rows) % LANES
    if missing:
        rows = torch.cat((rows, rows.new_zeros(missing, *rows.shape[1:])))
    return rows.view(-1, LANES, *rows.shape[1:])


def _bias(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else _by_strip(bias.detach().float()).contiguous()


def pack_dense(weight: Tensor) -> Tensor:
    """Return a weight [out, in] as [strip, in, 16]."""
    return _by_strip(weight.detach()).transpose(1, 2).contiguous()


def pack_int8(q: Tensor) -> Tensor:
    """Return a weight [out, in] int8 as [strip, in/2, 16, 2]."""
    return _by_strip(q).view(-1, LANES, q.shape[1] // 2, 2).transpose(1, 2).contiguous()


def pack_int4(codes: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Pack codes [out, in] uint8 and scales and zeros [in/group, out, 2] bf16.

    Return words [strip, in/32, 4, 16] int32 and pairs [strip, in/group, 2, 16] bf16.
    """
    c = _by_strip(codes).int().unflatten(2, (-1, 4, 4, 2))  # strip, lane, group of 32, word, nibble, even or odd
    shifts = 4 * torch.arange(4, dtype=torch.int32)[:, None] + torch.tensor([0, 16], dtype=torch.int32)
    words = (c << shifts).sum(dim=(-1, -2), dtype=torch.int64)
    words = torch.where(words >= 1 << 31, words - (1 << 32), words).to(torch.int32)
    scales = _by_strip(pairs.transpose(0, 1)).permute(0, 2, 3, 1)
    return words.permute(0, 2, 3, 1).contiguous(), scales.contiguous()


def unpack(strips: Strips) -> tuple[Tensor, Tensor | None]:
    """Return the weight [out, in] and the bias [out] in fp32: `pack`'s inverse, for 4-bit and bf16 layers."""
    s = strips
    bias = None if s.bias is None else s.bias.reshape(-1)[: s.outputs]
    if s.kind == BF16:
        return s.data.transpose(1, 2).reshape(-1, s.inputs)[: s.outputs].float(), bias
    assert s.kind == INT4
    assert s.scales is not None
    shifts = 4 * torch.arange(4, dtype=torch.int32)[:, None] + torch.tensor([0, 16], dtype=torch.int32)
    codes = (s.data.permute(0, 3, 1, 2)[..., None, None] >> shifts) & 15  # strip, lane, group of 32, word, nibble, odd
    codes = codes.reshape(-1, s.inputs)[: s.outputs]
    scale, zero = (t.permute(0, 2, 1).reshape(-1, t.shape[1])[: s.outputs].float() for t in s.scales.unbind(2))
    blocks = (codes.view(s.outputs, scale.shape[1], -1).float() - 8) * scale[..., None] + zero[..., None]
    weight = blocks.view(s.outputs, s.inputs)
    return (weight if s.order is None else weight[:, s.order.long().argsort()]), bias
