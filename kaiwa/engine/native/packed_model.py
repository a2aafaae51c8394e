"""Large 4-bit models: GPTQ's words are put in the C++ step's order once, and mapped from a file afterwards.

The first load goes layer by layer through the folder's files and writes each product in the step's layout to a file
under KAIWA_HOME/cache/packed (packed_file.py); every load maps the file, and later loads do not read the folder.

Computations outside the step (scores by a full forward pass) expand layer by layer, which is slow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kaiwa.core.errors import UserError
from kaiwa.core.machine import cores
from kaiwa.engine.native import library as native
from kaiwa.engine.native import packed_file, packed_folder
from kaiwa.engine.native.refusal import native_refusal
from kaiwa.engine.native.weight_layout import BF16, GROUP, INT4, LANES, Strips, pack, unpack
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import Decoder
from kaiwa.model.formats import hf_folder as folders
from kaiwa.model.formats.gptq import GptqFolder
from kaiwa.model.int4 import LARGE, LINEARS, replace_linear

FORMAT = 3  # of the file; a new number makes every file be written again
PARTS = ("data", "scales", "bias", "order")
Say = Callable[[str], None]


class NotPackable(UserError):
    """A sound folder with layers in a layout unknown to the step; the ordinary reader can read the folder."""


class PackedLinear(nn.Module):
    """A layer whose weights are packed for the C++ step. Used by torch, the layer expands them, slowly."""

    def __init__(self, strips: Strips) -> None:
        super().__init__()
        self.strips = strips

    def forward(self, x: Tensor) -> Tensor:
        """Return the product [..., out] of x [..., in]."""
        weight, bias = unpack(self.strips)
        return F.linear(x.float(), weight, bias).to(x.dtype)


def applies(folder: Path, config: DecoderConfig, device: str) -> bool:
    """Return whether a 4-bit folder is large enough to be kept packed, and the C++ step computes such models here."""
    return config.n_parameters > LARGE and not native_refusal(config, device, GROUP)


def load_packed(folder: Path, config: DecoderConfig, say: Say = lambda line: None) -> Decoder:
    """Load the decoder of a GPTQ folder, its products as PackedLinear. UserError as for any damaged folder."""
    file = packed_folder.packed_cache() / f"{fingerprint(folder)}.safetensors"
    tensors = packed_file.fetch(file, say)
    if tensors is None:
        say("first load: the weights are put in the C++ step's order and kept for the next time")
        size = sum(weights.stat().st_size for weights in folders.weight_files(folder))
        tensors = packed_file.store(file, folder, size, _tensors(folder, config, say), say)
    return _decoder(folder, config, tensors)


def fingerprint(folder: Path) -> str:
    """Return a hash of the settings' text, the files' names, sizes and times, and the packed format."""
    facts = [str(FORMAT), str(folder.resolve())]
    for name in ("config.json", "quantize_config.json", folders.INDEX):
        facts.append((folder / name).read_text(encoding="utf-8") if (folder / name).is_file() else "")
    for weights in folders.weight_files(folder):
        about = weights.stat()
        facts.append(f"{weights.name} {about.st_size} {about.st_mtime_ns}")
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:32]


def _decoder(folder: Path, config: DecoderConfig, tensors: Mapping[str, Tensor]) -> Decoder:
    with torch.device("meta"):
        decoder = Decoder(config)
    plain = {n: t for n, t in tensors.items() if not n.endswith(tuple(f".{part}" for part in PARTS[:2])) or "norm" in n}
    names = [f"blocks.{i}.{part}" for i in range(config.n_layer) for part in LINEARS] + ["unembed"]
    shapes = {n: tuple(t.shape) for n, t in decoder.state_dict().items()}
    for name in names:
        data = tensors[f"{name}.data"]
        out, inputs = shapes[f"{name}.weight"]
        kind = INT4 if data.dtype == torch.int32 else BF16
        scales = tensors.get(f"{name}.scales")
        group = 0 if scales is None else inputs // scales.shape[1]
        more = (scales, tensors.get(f"{name}.bias"), tensors.get(f"{name}.order"))
        replace_linear(
            decoder, f"{name}.weight", PackedLinear(Strips(kind, inputs, out, group, data, *more, placed=True))
        )
    state = {n: t for n, t in plain.items() if n in shapes and n.rpartition(".")[0] not in names}
    wrong = [name for name, tensor in state.items() if tuple(tensor.shape) != shapes[name]]
    if wrong:  # values were checked when the file was written; checking now would read all of it from the disk
        raise UserError(f"{folder}: {wrong[0]} is {tuple(state[wrong[0]].shape)}, config.json says {shapes[wrong[0]]}")
    decoder.load_state_dict(state, strict=False, assign=True)
    missing = [n for n, t in decoder.state_dict().items() if t.is_meta]
    if missing:
        raise UserError(f"{folder}: tensor {missing[0]} is missing")
    return decoder.requires_grad_(False).eval()


def _tensors(folder: Path, config: DecoderConfig, say: Say) -> Iterator[tuple[str, Tensor]]:
    """Yield the step's tensors, product by product; memory holds little more than a single product at a time."""
    source = GptqFolder(folder, config, say)
    library = native.library()
    yield from source.rest()
    for name in reversed(
        source.linears
    ):  # the unembedding first: it needs most memory while it is packed, and most is free now
        short = name.removesuffix(".weight")
        strips = _strips(source, name, library)
        for part in PARTS:
            value = getattr(strips, part)
            if value is not None:
                yield f"{short}.{part}", value


def _strips(source: GptqFolder, name: str, library: Any) -> Strips:
    """Pack one product. Its parts are stacked: whole strips each, or the slow way over codes."""
    parts = source.parts(name)
    bias = source.bias(name)
    four = ["qweight" in p for p in parts]
    if not all(four):
        if any(four):
            raise NotPackable(f"{name}: some of its parts are 4-bit and some are not")
        dense = [p["weight"].bfloat16() for p in parts]
        return pack(_dense(dense[0] if len(dense) == 1 else torch.cat(dense), bias))
    words = [p["qweight"].shape for p in parts]
    if any(p["qweight"].shape[0] * 8 // len(p["scales"]) % GROUP for p in parts):
        raise NotPackable(f"{name}: its groups are no multiples of {GROUP} inputs")
    orders = [source.order(p) for p in parts]
    broken = len(parts) > 1 and any(shape[1] % LANES for shape in words)
    if broken or not all(_same(o, orders[0]) for o in orders):
        raise NotPackable(f"{name}: its parts are no whole strips of {LANES}, or differ in their order of columns")
    data = torch.cat([_repack(p["qweight"], o, library) for p, o in zip(parts, orders, strict=True)])
    scales = torch.cat([_scales(p, source.version) for p in parts])
    inputs, out = words[0][0] * 8, sum(w[1] for w in words)
    packed_bias = None if bias is None else F.pad(bias.float(), (0, -out % LANES)).view(-1, LANES)
    order = None if orders[0] is None else orders[0].to(torch.int32)
    return Strips(INT4, inputs, out, inputs // scales.shape[1], data, scales, packed_bias, order)


def _repack(qweight: Tensor, order: Tensor | None, library: Any) -> Tensor:
    """Repack GPTQ's words [in/8, out] int32 to [strip, in/32, 4, 16] int32, on all cores; the last strip is filled with
    zeros."""
    qweight = F.pad(qweight, (0, -qweight.shape[1] % LANES)).contiguous()
    inputs, out = qweight.shape[0] * 8, qweight.shape[1]
    strips = out // LANES
    words = torch.empty(strips, inputs // 32, 4, LANES, dtype=torch.int32)
    order = None if order is None else order.to(torch.int32).contiguous()
    edges = np.linspace(0, strips, cores() + 1).astype(int).tolist()

    def repack_part(i: int) -> None:
        first, last = edges[i], edges[i + 1]
        at = None if order is None else order.data_ptr()
        library.kaiwa_repack_gptq(
            qweight.data_ptr(), inputs, out, at, first, last - first, words[first:last].data_ptr()
        )

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(repack_part, range(cores())))
    return words


def _scales(part: Mapping[str, Tensor], version: int) -> Tensor:
    """Return a part's scales and zeros [strip, in/group, 2, 16] bf16: w = scale (code - 8) + zero."""
    scales = part["scales"].float()
    shifts = torch.arange(0, 32, 4)
    points = ((part["qzeros"].long()[:, :, None] >> shifts) & 15).flatten(1)[:, : scales.shape[1]] + int(version == 1)
    if not bool(scales.isfinite().all()):
        raise UserError("the 4-bit scales have NaN or infinity in them; the file is damaged")
    pairs = torch.stack((scales, scales * (8 - points)), dim=1).bfloat16()  # [groups, 2, out]
    pairs = F.pad(pairs, (0, -pairs.shape[2] % LANES))
    return pairs.view(*pairs.shape[:2], -1, LANES).permute(2, 0, 1, 3).contiguous()


def _dense(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    dense = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    dense.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        dense.bias = nn.Parameter(bias, requires_grad=False)
    return dense


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    return torch.equal(a, b) if a is not None and b is not None else a is b
