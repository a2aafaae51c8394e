"""4-bit linear layers: round to nearest, GPTQ's file layout, and a product over packed weights.

A group of weights shares a scale and a zero, w = scale * (code - 8) + zero, codes 0 to 15. Few rows go through torch's
packed kernel, which reads half a byte a weight (bf16 activations, scales and zeros); many rows through a dense product,
which is faster there and for which a bf16 copy is kept: 2.5 bytes a weight in all. Without AVX-512 the kernel is slower
than a dense product by far, and only the dense weight is held.

File layout (GPTQ version 1, as AutoGPTQ, vLLM and transformers read it), for a module of `in` inputs, group g:
    qweight int32 [in/8, out]   eight inputs a word, the lowest nibble the first
    qzeros  int32 [in/g, out/8] the zero point minus 1; ours is always 8, so every word is 0x77777777
    scales  fp16  [in/g, out]   g_idx int32 [in] = i // g
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from kaiwa.core.errors import UserError
from kaiwa.core.machine import has_int4_kernel
from kaiwa.model import folder as folders
from kaiwa.model.decoder import Decoder

FEW_ROWS = 12  # up to so many, the packed kernel is faster than a dense product
GROUPS = (32, 64, 128)  # that the kernel takes
LINEARS = ("qkv", "out", "up", "down")


def quantize_rtn(weight: Tensor, group: int) -> tuple[Tensor, Tensor, Tensor]:
    """weight [out,in] -> codes [out,in] uint8, scales, zeros [out,in/group] fp32. Symmetric: zeros are 0.

    Scales are rounded to bf16 first, so that file, kernel and dense weight agree on every weight.
    """
    out, inputs = weight.shape
    if inputs % group:
        raise UserError(f"group {group} does not divide a layer's {inputs} inputs; choose a smaller group")
    blocks = weight.detach().float().view(out, -1, group)
    scales = (blocks.abs().amax(dim=-1) * (2 / 15)).clamp(min=1e-4).bfloat16().float()
    codes = (blocks / scales[..., None]).round().add(8).clamp(0, 15).to(torch.uint8)
    return codes.view(out, inputs), scales, torch.zeros_like(scales)


def dequantize(codes: Tensor, scales: Tensor, zeros: Tensor) -> Tensor:
    """codes [out,in], scales and zeros [out,in/group] -> weights [out,in] fp32"""
    out, inputs = codes.shape
    blocks = (codes.view(out, scales.shape[1], -1).float() - 8) * scales.float()[..., None] + zeros.float()[..., None]
    return blocks.view(out, inputs)


def pack_gptq(codes: Tensor, scales: Tensor) -> dict[str, Tensor]:
    """Symmetric codes [out,in] and scales [out,in/group] as GPTQ's four tensors."""
    out, inputs = codes.shape
    shifts = torch.arange(0, 32, 4)
    words = (codes.T.reshape(inputs // 8, 8, out).long() << shifts[None, :, None]).sum(dim=1)
    n_groups = scales.shape[1]
    return {
        "qweight": _int32(words),
        "qzeros": torch.full((n_groups, -(-out // 8)), 0x77777777, dtype=torch.int32),
        "scales": scales.T.half().contiguous(),
        "g_idx": torch.arange(inputs, dtype=torch.int32) // (inputs // n_groups),
    }


def unpack_gptq(tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """GPTQ's tensors (version 1 or 2, zero points allowed, no act-order) -> codes, scales, zeros as `quantize_rtn`."""
    qweight, scales = tensors["qweight"], tensors["scales"].float()
    shifts = torch.arange(0, 32, 4)
    inputs, out = qweight.shape[0] * 8, qweight.shape[1]
    codes = ((qweight.long()[:, None, :] >> shifts[None, :, None]) & 15).view(inputs, out)
    order = tensors.get("g_idx")
    if order is not None and not torch.equal(order.long(), torch.arange(inputs) // (inputs // len(scales))):
        raise UserError("the 4-bit weights were made with act-order, which is not read; export with desc_act=False")
    points = ((tensors["qzeros"].long()[:, :, None] >> shifts) & 15).view(len(scales), -1)[:, :out]
    second_version = bool((tensors["qzeros"] == -0x77777778).all())  # 0x88888888: the zero point itself
    points = points if second_version else points + 1
    zeros = scales * (8 - points)
    return codes.T.to(torch.uint8).contiguous(), scales.T.contiguous(), zeros.T.contiguous()


def _int32(words: Tensor) -> Tensor:
    return torch.where(words >= 1 << 31, words - (1 << 32), words).to(torch.int32)


class Int4Linear(nn.Module):
    """x [..., in] -> [..., out]. Build it with `from_codes`. Not for training."""

    packed: Tensor
    scales_and_zeros: Tensor
    dense: Tensor
    bias: Tensor | None

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
        dtype: torch.dtype = torch.bfloat16,
        kernel: bool | None = None,
    ) -> Int4Linear:
        """codes [out,in], scales, zeros [out,in/group]. dtype: the activations'. kernel None: ask the machine."""
        out, inputs = codes.shape
        group = inputs // scales.shape[1]
        wanted = has_int4_kernel() if kernel is None else kernel
        packs = wanted and dtype == torch.bfloat16 and group in GROUPS and out % 16 == 0
        made = cls(out, inputs, group, packs)
        scales, zeros = scales.bfloat16(), zeros.bfloat16()
        made.register_buffer("dense", dequantize(codes, scales, zeros).to(dtype), persistent=False)
        made.register_buffer("bias", None if bias is None else bias.detach().to(dtype), persistent=False)
        if packs:
            packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes.to(torch.int32), 1)
            pairs = torch.stack((scales, zeros), dim=-1).transpose(0, 1).contiguous()  # [in/group, out, 2]
            made.register_buffer("packed", packed, persistent=False)
            made.register_buffer("scales_and_zeros", pairs, persistent=False)
        return made

    def forward(self, x: Tensor) -> Tensor:
        if self.packs and x.numel() <= FEW_ROWS * self.in_features:
            rows = x.view(-1, self.in_features)
            y = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, self.packed, self.group, self.scales_and_zeros)
            y = y if self.bias is None else y + self.bias
            return y.view(*x.shape[:-1], self.out_features)  # type: ignore[no-any-return]
        return F.linear(x, self.dense, self.bias)


def save_int4(folder: Path, decoder: Decoder, special: dict[str, int], group: int) -> None:
    """Quantizes the blocks' linears round to nearest; writes config.json and model.safetensors, the rest in bf16."""
    config, state = decoder.config, decoder.state_dict()
    made = {name: quantize_rtn(state[name], group) for name in _quantized(state)}
    codes = _to_hf(decoder, state | {name: parts[0] for name, parts in made.items()})
    scales = _to_hf(decoder, state | {name: parts[1] for name, parts in made.items()})
    tensors: dict[str, Tensor] = {}
    for name, tensor in codes.items():
        if tensor.dtype == torch.uint8:
            packed = pack_gptq(tensor, scales[name])
            tensors |= {f"{name.removesuffix('.weight')}.{part}": t for part, t in packed.items()}
        else:
            tensors[name] = tensor.detach().to("cpu", torch.bfloat16).contiguous()
    settings = {
        "quant_method": "gptq",
        "checkpoint_format": "gptq",
        "bits": 4,
        "group_size": group,
        "sym": True,
        "desc_act": False,
        "lm_head": False,
        "pack_dtype": "int32",
        "meta": {"quantizer": ["kaiwa:round-to-nearest"]},
    }
    whole = folders.hf_config(config, False) | special | {"torch_dtype": "bfloat16", "quantization_config": settings}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / folders.WEIGHTS, metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "quantize_config.json").write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n", "utf-8")


def load_int4(folder: Path, dtype: torch.dtype = torch.bfloat16, kernel: bool | None = None) -> Decoder:
    """The decoder of a GPTQ folder, its blocks' linears as Int4Linear."""
    config = folders.read_config(folder)
    raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    settings = raw.get("quantization_config") or {}
    if settings.get("quant_method") != "gptq" or settings.get("bits") != 4:
        raise UserError(f"{folder}: its quantization_config is not 4-bit GPTQ; that is the only one that is read")
    found = folders.read_tensors(folder)
    plain = {name: t for name, t in found.items() if not name.endswith((".qweight", ".qzeros", ".scales", ".g_idx"))}
    names = [name.removesuffix(".qweight") for name in found if name.endswith(".qweight")]
    parts: list[dict[str, Tensor]] = [{}, {}, {}]
    for name in names:
        own = {p: found[f"{name}.{p}"] for p in ("qweight", "qzeros", "scales", "g_idx") if f"{name}.{p}" in found}
        for part, tensor in zip(parts, unpack_gptq(own), strict=True):
            part[name + ".weight"] = tensor if config.dialect == "llama" else tensor.T
    codes, scales, zeros = (folders.from_hf(config, plain | part) for part in parts)
    decoder = Decoder(config)
    quantized = _quantized(decoder.state_dict())
    decoder.load_state_dict({k: v for k, v in codes.items() if k not in quantized}, strict=False)
    decoder = decoder.to(dtype)
    for name in quantized:
        linear = (codes[name], scales[name], zeros[name], codes.get(name.removesuffix("weight") + "bias"))
        replace_linear(decoder, name, Int4Linear.from_codes(*linear, dtype=dtype, kernel=kernel))
    return decoder.requires_grad_(False).eval()


def replace_linear(decoder: Decoder, name: str, linear: nn.Module) -> None:
    """name: "blocks.3.qkv.weight"."""
    _, layer, part, _ = name.split(".")
    setattr(decoder.blocks[int(layer)], part, linear)


def _quantized(state: dict[str, Tensor]) -> list[str]:
    return [n for n in state if n.startswith("blocks.") and n.endswith(tuple(f".{part}.weight" for part in LINEARS))]


def _to_hf(decoder: Decoder, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Hugging Face's names; weights always [out,in] (GPT-2 keeps them the other way round)."""
    tensors = folders.to_hf(decoder.config, state, False)
    if decoder.config.dialect == "llama":
        return tensors
    turned = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
    return {name: t.T if name.endswith(turned) else t for name, t in tensors.items()}
