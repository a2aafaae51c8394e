"""LoRA: the weights stay, a product of two thin matrices is learned beside each linear layer (Hu et al., 2021, 4.1).

    y = W x + (alpha / r) B A x        A [r,in] ~ N(0, 1/in), B [out,r] = 0: at the start nothing is changed

Every linear layer of the blocks has a change (the paper: query and value only). Query, key and value are one product
here, and so are gate and up: the parts share A. Afterwards the product B A is added to W, and the model is a plain
decoder again; the adapter alone is written in the layout of the PEFT library, each part of a fused product by its own
name.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from kaiwa.core.errors import UserError
from kaiwa.model.adapter import Adapter
from kaiwa.model.decoder import Decoder
from kaiwa.model.families.by_name import family_of
from kaiwa.model.formats.hf_names import family_rows, names_of, sizes_of
from kaiwa.model.int4 import linears_of


class LoraLinear(nn.Module):
    """x [..., in] -> [..., out]: a frozen linear layer and its low-rank change."""

    def __init__(self, inner: nn.Linear, rank: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        self.inner, self.scale = inner, alpha / rank
        start = torch.empty(rank, inner.in_features).normal_(0.0, 1 / math.sqrt(inner.in_features), generator=generator)
        self.a = nn.Parameter(start)
        self.b = nn.Parameter(torch.zeros(inner.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """Return the product [..., out] of x [..., in] with the change added."""
        return self.inner(x) + self.scale * F.linear(F.linear(x, self.a), self.b)  # type: ignore[no-any-return]

    def change(self) -> Tensor:
        """Return the change of the weight [out,in]."""
        return self.scale * self.b @ self.a


def add_lora(decoder: Decoder, rank: int, alpha: float, generator: torch.Generator) -> None:
    """Freeze the decoder and put a change beside every linear layer of its blocks, but for experts'. UserError for a
    rank too large."""
    if not 1 <= rank <= decoder.config.d_model:
        raise UserError(f"lora rank {rank}: give 1 to {decoder.config.d_model}, the model's width")
    decoder.requires_grad_(False)
    for block in decoder.blocks:
        for part in linears_of(decoder.config):
            setattr(block, part, LoraLinear(getattr(block, part), rank, alpha, generator))


@torch.no_grad()
def continue_lora(decoder: Decoder, adapter: Adapter, generator: torch.Generator) -> int:
    """Freeze the decoder, and put an adapter's changes beside the linear layers of its blocks, to be trained on.

    Return the rank, the largest of the adapter's products (parts that PEFT trained apart are stacked in a fused one);
    the others get rows that change nothing yet. UserError for an adapter that is a soft prompt.
    """
    if adapter.soft is not None:
        raise UserError("the adapter is a soft prompt; only a low-rank change can be trained further")
    rank = max(len(a) for block in adapter.changes for a, _ in block.values())
    add_lora(decoder, rank, float(rank), generator)
    for block, changes in zip(decoder.blocks, adapter.changes, strict=True):
        for part, (a, b) in changes.items():
            layer = getattr(block, part)
            layer.a[: len(a)] = a
            layer.b[:, : len(a)] = b
    return rank


@torch.no_grad()
def merge_lora(decoder: Decoder) -> None:
    """Add the changes to the weights; the decoder is a plain decoder afterwards."""
    for block in decoder.blocks:
        for part in linears_of(decoder.config):
            layer = getattr(block, part)
            if isinstance(layer, LoraLinear):
                layer.inner.weight += layer.change()
                setattr(block, part, layer.inner)


def save_adapter(folder: Path, decoder: Decoder, base: str) -> None:
    """Write adapter_config.json and adapter_model.safetensors of a decoder before `merge_lora`. `base`: the model's
    name."""
    folder.mkdir(parents=True, exist_ok=True)
    config, tensors = decoder.config, {}
    rank, scale, targets = 0, 1.0, set()
    for number, block in enumerate(decoder.blocks):
        for part in linears_of(decoder.config):
            layer = getattr(block, part)
            assert isinstance(layer, LoraLinear)
            rank, scale = len(layer.a), layer.scale
            name = f"blocks.{number}.{part}.weight"
            theirs, sizes = names_of(config, name), sizes_of(config, name)
            whole = family_rows(name, layer.b, config, family_of(config))
            pieces = [whole] if len(theirs) == 1 else whole.split(sizes)
            for full, b in zip(theirs, pieces, strict=True):
                stem = f"base_model.model.{full.removesuffix('.weight')}"
                targets.add(stem.rsplit(".", 1)[1])
                tensors[f"{stem}.lora_A.weight"] = layer.a.detach().to("cpu", copy=True)
                tensors[f"{stem}.lora_B.weight"] = b.detach().to("cpu", copy=True).contiguous()
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": rank * scale,
        "lora_dropout": 0.0,
        "target_modules": sorted(targets),
        "fan_in_fan_out": config.dialect == "gpt3",
        "bias": "none",
        "inference_mode": True,
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n", encoding="utf-8")


@contextlib.contextmanager
def adapter_off(model: nn.Module) -> Iterator[None]:
    """Leave every low-rank change in `model` out while the context is open: the model is as before `add_lora`."""
    layers = [layer for layer in model.modules() if isinstance(layer, LoraLinear)]
    scales = [layer.scale for layer in layers]
    for layer in layers:
        layer.scale = 0.0
    try:
        yield
    finally:
        for layer, scale in zip(layers, scales, strict=True):
            layer.scale = scale
