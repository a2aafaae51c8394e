"""A model larger than the card: the first blocks on the card, the others on the CPU.

The embedding, the last norm, the unembedding and all keys and values are on the card too. A block on the CPU receives
the activations and computes its products there; its queries, keys and values go to the card, where attention is
computed, and the result goes through the rest of the block on the CPU. So a token crosses four times per block with
some kilobytes, which takes microseconds where reading the block's weights takes milliseconds.

Departures: llama.cpp keeps the keys and values of such a block on the CPU and crosses once; here caches need not know
of two devices. 4-bit weights are 4-bit on the CPU only: on the card they are expanded, as everywhere else in kaiwa.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kaiwa.core.errors import UserError
from kaiwa.engine.native.weight_layout import can_pack, pack, unpack
from kaiwa.model.attention import Attend, Limits
from kaiwa.model.decoder import Block, Decoder
from kaiwa.model.int4 import Int4Linear

UNITS = {"": 10**9, "GB": 10**9, "GiB": 1 << 30, "MB": 10**6, "MiB": 1 << 20}


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLimits:
    """Most bytes for weights, None: all free memory. `all`: the limit on the single device of an unsplit model."""

    gpu: int | None = None
    cpu: int | None = None
    all: int | None = None

    @property
    def splits(self) -> bool:
        return self.gpu is not None


def parse_limits(text: str) -> MemoryLimits:
    """Parse "8" (GB), "6GiB", or "gpu=6GiB,cpu=16GiB". UserError for anything else."""
    limits: dict[str, int] = {}
    for part in text.split(","):
        name, equals, size = part.strip().rpartition("=")
        read = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", size.strip())
        key = name.strip() if equals else "all"
        if read is None or read[2] not in UNITS or key not in ("gpu", "cpu", "all") or key in limits:
            raise UserError(f"--max-memory {text!r}: give 8GB, or gpu=6GiB,cpu=16GiB (units: GB, GiB, MB, MiB)")
        limits[key] = round(float(read[1]) * UNITS[read[2]])
    if "all" in limits and len(limits) > 1:
        raise UserError(f"--max-memory {text!r}: give one size, or one each for gpu and cpu")
    return MemoryLimits(**limits)


class OffloadedBlock(nn.Module):
    """A block whose weights are on another device than its input; keys, values and attention stay with the input."""

    def __init__(self, block: Block, device: str) -> None:
        super().__init__()
        self.block, self.device = block, device

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor] | None, attend: Attend, at: Tensor | None = None
    ) -> Tensor:
        """Compute the block for x [B,T,D] (or its positions `at` [n]); input and result are on x's device."""
        home, elsewhere = x.device, self.device

        def attend_at_home(layer: int, q: Tensor, k: Tensor, v: Tensor, limits: Limits = Limits()) -> Tensor:
            return attend(layer, q.to(home), k.to(home), v.to(home), limits).to(elsewhere)

        angles = None if rotary is None else (rotary[0].to(elsewhere), rotary[1].to(elsewhere))
        at = None if at is None else at.to(elsewhere)
        return self.block(x.to(elsewhere), angles, attend_at_home, at).to(home)  # type: ignore[no-any-return]


def place_blocks(decoder: Decoder, device: str, n_on_device: int) -> Decoder:
    """Move a decoder to `device`, all but the blocks from `n_on_device` on, which stay on the CPU.

    The decoder must have been read for the CPU: 4-bit products of moved blocks are expanded on the way, singly.
    """
    for i, block in enumerate(decoder.blocks):
        if i >= n_on_device:
            decoder.blocks[i] = OffloadedBlock(block, "cpu")  # type: ignore[arg-type]
        else:
            _expand(block, decoder.embed.weight.dtype)
            block.to(device)
    for part in (decoder.embed, decoder.positions, decoder.norm):
        if part is not None:
            part.to(device)
    head = nn.ModuleDict({"unembed": decoder.unembed})
    _expand(head, decoder.embed.weight.dtype)
    decoder.unembed = head["unembed"].to(device)  # type: ignore[assignment]
    if decoder.config.tie_embeddings and isinstance(decoder.unembed, nn.Linear):
        decoder.unembed.weight = decoder.embed.weight
    return decoder


def is_split(decoder: Decoder) -> bool:
    """Return whether some blocks are on another device than the rest."""
    return any(isinstance(block, OffloadedBlock) for block in decoder.blocks)


def _expand(module: nn.Module, dtype: torch.dtype) -> None:
    """Replace 4-bit products inside a module by dense ones of `dtype`."""
    for name, child in module.named_children():
        if not isinstance(child, Int4Linear):
            _expand(child, dtype)
        elif child.dense is not None or can_pack(child):
            weight, bias = (child.dense, child.bias) if child.dense is not None else unpack(pack(child))
            dense = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
            dense.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
            if bias is not None:
                dense.bias = nn.Parameter(bias.to(dtype), requires_grad=False)
            setattr(module, name, dense)
