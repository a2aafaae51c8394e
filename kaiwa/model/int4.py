"""4-bit linear layers: round to nearest, and a product over packed weights.

A group of weights shares a scale and a zero, w = scale * (code - 8) + zero, codes 0 to 15. Few rows go through torch's
packed kernel, which reads half a byte a weight (bf16 activations, scales and zeros); many rows through a dense product,
which is faster there and for which a bf16 copy is kept: 2.5 bytes per weight in all. Models too large for the copy keep
the packed weights only (`lean`). Without AVX-512 the kernel is slower than a dense product by far, and only the dense
weight is held.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kaiwa.core.errors import UserError
from kaiwa.core.machine import has_int4_kernel
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import Decoder

FEW_ROWS = 12  # up to so many, the packed kernel is faster than a dense product
GROUPS = (32, 64, 128)  # that the kernel takes
LINEARS = ("qkv", "out", "up", "down")
LARGE = 1_500_000_000  # weights from which no dense copies are kept


@dataclass(frozen=True, slots=True)
class Codes:
    """A 4-bit weight: codes [out,in] uint8; scales, zeros [out,in/group].

    `order` [in]: which input each column belongs to, where columns were sorted into groups (GPTQ's act-order).
    """

    codes: Tensor
    scales: Tensor
    zeros: Tensor
    order: Tensor | None = None

    def rows(self, index: Tensor) -> Codes:
        """Return the rows at `index` [n] of a weight [out,in]."""
        return Codes(self.codes[index], self.scales[index], self.zeros[index], self.order)

    def dense(self) -> Tensor:
        """Return the weight [out,in] fp32, columns in the order of the inputs."""
        weight = dequantize(self.codes, self.scales, self.zeros)
        return weight if self.order is None else weight[:, self.order.argsort()]


def quantize_rtn(weight: Tensor, group: int) -> tuple[Tensor, Tensor, Tensor]:
    """Round a weight [out,in] to codes [out,in] uint8, scales, zeros [out,in/group] fp32. Symmetric: zeros are 0."""
    out, inputs = weight.shape
    if inputs % group:
        raise UserError(f"group {group} does not divide a layer's {inputs} inputs; choose a smaller group")
    blocks = weight.detach().float().view(out, -1, group)
    scales = (blocks.abs().amax(dim=-1) * (2 / 15)).clamp(min=1e-4).bfloat16().float()
    codes = (blocks / scales[..., None]).round().add(8).clamp(0, 15).to(torch.uint8)
    return codes.view(out, inputs), scales, torch.zeros_like(scales)


def dequantize(codes: Tensor, scales: Tensor, zeros: Tensor) -> Tensor:
    """Return weights [out,in] fp32 of codes [out,in], scales and zeros [out,in/group]."""
    out, inputs = codes.shape
    blocks = (codes.view(out, scales.shape[1], -1).float() - 8) * scales.float()[..., None] + zeros.float()[..., None]
    return blocks.view(out, inputs)


class Int4Linear(nn.Module):
    """x [..., in] -> [..., out]. Build with `from_codes`. Not for training."""

    packed: Tensor
    scales_and_zeros: Tensor
    dense: Tensor | None
    bias: Tensor | None
    order: Tensor | None

    def __init__(self, out_features: int, in_features: int, group: int, packs: bool) -> None:
        super().__init__()
        self.out_features, self.in_features, self.group, self.packs = out_features, in_features, group, packs

    @classmethod
    def from_codes(
        cls,
        codes: Tensor,
        scales: Tensor,
        zeros: Tensor,
        bias: Tensor | None = None,
        *,
        order: Tensor | None = None,
        dtype: torch.dtype = torch.bfloat16,
        kernel: bool | None = None,
        lean: bool = False,
    ) -> Int4Linear:
        """Build a layer from codes [out,in], scales, zeros [out,in/group].

        dtype: the activations'. kernel None: ask the machine.
        """
        out, inputs = codes.shape
        group = inputs // scales.shape[1]
        has_kernel = has_int4_kernel() if kernel is None else kernel
        packs = has_kernel and dtype == torch.bfloat16 and group in GROUPS and out % 16 == 0
        layer = cls(out, inputs, group, packs)
        scales, zeros = scales.bfloat16(), zeros.bfloat16()
        dense = None if lean and packs else Codes(codes, scales, zeros, order).dense().to(dtype)
        layer.register_buffer("dense", dense, persistent=False)
        layer.register_buffer("bias", None if bias is None else bias.detach().to(dtype), persistent=False)
        layer.register_buffer("order", order if packs else None, persistent=False)
        if packs:
            packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes.to(torch.int32), 1)
            pairs = torch.stack((scales, zeros), dim=-1).transpose(0, 1).contiguous()  # [in/group, out, 2]
            layer.register_buffer("packed", packed, persistent=False)
            layer.register_buffer("scales_and_zeros", pairs, persistent=False)
        return layer

    def codes(self) -> Tensor:
        """Return the packed codes [out,in] uint8.

        The kernel's layout is found by letting the kernel pack every weight's own number.
        """
        assert self.packs
        n = self.out_features * self.in_features
        numbers = torch.arange(n, dtype=torch.int32).view(self.out_features, self.in_features)
        place = torch.zeros(n, dtype=torch.int64)
        for shift in range(0, n.bit_length(), 4):
            digits = torch.ops.aten._convert_weight_to_int4pack_for_cpu((numbers >> shift) & 15, 1)
            place |= _nibbles(digits).to(torch.int64) << shift
        codes = torch.empty(n, dtype=torch.uint8)
        codes[place] = _nibbles(self.packed)
        return codes.view(self.out_features, self.in_features)

    def forward(self, x: Tensor) -> Tensor:
        """Return the product [..., out] of x [..., in]."""
        few = (
            self.packs and x.numel() <= FEW_ROWS * self.in_features and not x.requires_grad
        )  # no gradient by the kernel
        if self.dense is not None and not few:
            return F.linear(x, self.dense, self.bias)
        rows = x.reshape(-1, self.in_features)
        rows = rows if self.order is None else rows[:, self.order]
        y = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, self.packed, self.group, self.scales_and_zeros)
        y = y if self.bias is None else y + self.bias
        return y.view(*x.shape[:-1], self.out_features)  # type: ignore[no-any-return]


def _nibbles(packed: Tensor) -> Tensor:
    return torch.stack((packed & 15, packed >> 4), dim=-1).flatten()


class JoinedLinear(nn.Module):
    """Products of one input, side by side: parts of a fused layer that are kept in different ways."""

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        """Return the parts' products side by side [..., out of all] of x [..., in]."""
        return torch.cat([part(x) for part in self.parts], dim=-1)


def make_linear(
    parts: Sequence[Codes | Tensor],
    bias: Tensor | None,
    dtype: torch.dtype,
    kernel: bool | None = None,
    lean: bool = False,
) -> nn.Module:
    """Build one layer from the parts of a fused product, 4-bit (Codes) or dense [out,in]; bias [out of all] or None."""
    codes = [p for p in parts if isinstance(p, Codes)]
    if len(codes) < len(parts):
        if not codes:
            return _dense_linear(torch.cat([p for p in parts if isinstance(p, Tensor)]), bias, dtype)
    elif all(c.scales.shape[1] == codes[0].scales.shape[1] and _same(c.order, codes[0].order) for c in codes):
        q, scales, zeros = (torch.cat([getattr(c, name) for c in codes]) for name in ("codes", "scales", "zeros"))
        return Int4Linear.from_codes(
            q, scales, zeros, bias, order=codes[0].order, dtype=dtype, kernel=kernel, lean=lean
        )
    heights = [len(p.codes) if isinstance(p, Codes) else len(p) for p in parts]
    biases = [None] * len(parts) if bias is None else list(bias.split(heights))
    return JoinedLinear([make_linear([p], b, dtype, kernel, lean) for p, b in zip(parts, biases, strict=True)])


def _dense_linear(weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> nn.Linear:
    dense = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    dense.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    if bias is not None:
        dense.bias = nn.Parameter(bias.to(dtype), requires_grad=False)
    return dense


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    return torch.equal(a, b) if a is not None and b is not None else a is b


def replace_linear(decoder: Decoder, name: str, linear: nn.Module) -> None:
    """Put a layer in the place of `name`: "blocks.3.qkv.weight" or "unembed.weight"."""
    if name == "unembed.weight":
        decoder.unembed = linear  # type: ignore[assignment]
        return
    parent, _, part = name.removesuffix(".weight").rpartition(".")
    setattr(decoder.get_submodule(parent), part, linear)


def linears_of(config: DecoderConfig) -> tuple[str, ...]:
    """Return the parts of a block that are one linear layer each; experts are several."""
    return LINEARS[:2] if config.experts.n_experts else LINEARS


def quantized_names(decoder: Decoder) -> list[str]:
    """Return the names of the weights that 4-bit formats pack: the blocks' linear layers."""
    ends = tuple(f".{part}.weight" for part in LINEARS)
    return [n for n in decoder.state_dict() if n.startswith("blocks.") and n.endswith(ends)]


def expand(decoder: Decoder) -> Decoder:
    """Replace 4-bit layers by dense layers of the same weights, in place; return the decoder in fp32."""
    for block in decoder.blocks:
        for parent in list(block.modules()):
            for part in LINEARS:
                if isinstance(layer := getattr(parent, part, None), (Int4Linear, JoinedLinear)):
                    setattr(parent, part, _as_linear(layer))
    if isinstance(decoder.unembed, (Int4Linear, JoinedLinear)):
        decoder.unembed = _as_linear(decoder.unembed)
    return decoder.float()


def _as_linear(layer: nn.Module) -> nn.Linear:
    if isinstance(layer, nn.Linear):
        return layer
    if isinstance(layer, JoinedLinear):
        parts = [_as_linear(part) for part in layer.parts]
        weights = [part.weight.detach() for part in parts]
        weight = torch.cat(weights)
        biases = [part.bias.detach() for part in parts if part.bias is not None]
        bias = torch.cat(biases) if biases else None
    else:
        assert isinstance(layer, Int4Linear)
        assert layer.dense is not None
        weight, bias = layer.dense, layer.bias
    dense = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    dense.weight = nn.Parameter(weight.float())
    if bias is not None:
        dense.bias = nn.Parameter(bias.float())
    return dense
