"""What loading a model takes, told before a byte of its weights is read: which weights where, how large, how fast.

Speed is bounded by memory: a token reads every weight of the blocks and of the unembedding once, so that
    tokens/s <= bandwidth / bytes a token
with the bandwidth measured here and now. What is reached is less (attention, sampling); the bound is printed as such.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from kaiwa.core import machine
from kaiwa.core.errors import UserError
from kaiwa.engine import fused, native, packed
from kaiwa.engine.catalog import Entry
from kaiwa.engine.load import SMALL
from kaiwa.engine.strips import LANES
from kaiwa.model.config import DecoderConfig
from kaiwa.model.gguf_file import FOUR_BIT, GgufFile
from kaiwa.model.hf_config import read_config, read_json
from kaiwa.model.int4 import LARGE
from kaiwa.model.llama2c_file import Llama2cFile

SCALES = 4 / 32  # bytes a weight for a bf16 scale and zero per 32 weights
PROBE = 1 << 28  # bytes read to measure the bandwidth


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the weights: how many, bytes a weight in memory, bytes a weight that one token reads."""

    name: str
    weights: int
    held: float
    read: float

    @property
    def bytes(self) -> int:
        return round(self.weights * self.held)


@dataclass(frozen=True, slots=True)
class Plan:
    """cache: bytes of keys and values a token. free: bytes the device has. bandwidth: bytes a second."""

    name: str
    device: str
    parts: tuple[Part, ...]
    cache: int
    free: int
    bandwidth: float

    @property
    def bytes(self) -> int:
        return sum(part.bytes for part in self.parts)

    @property
    def tokens_per_second(self) -> float:
        """The memory's bound for one stream."""
        return self.bandwidth / max(1.0, sum(part.weights * part.read for part in self.parts))

    def told(self) -> str:
        lines = [f"{self.name} on {self.device}"]
        lines += [f"  {p.name:<28} {p.weights / 1e6:>10,.1f}M weights {p.bytes / 1e6:>10,.1f} MB" for p in self.parts]
        lines.append(f"  {'weights in all':<28} {'':>18} {self.bytes / 1e6:>10,.1f} MB")
        lines.append(f"  {'keys and values, 1,000 tokens':<28} {'':>17} {self.cache * 1000 / 1e6:>10,.1f} MB")
        lines.append(
            f"  {self.free / 1e9:,.1f} GB are free there; {self.bandwidth / 1e9:,.0f} GB/s measured: at most"
            f" {self.tokens_per_second:,.1f} tokens/s for one stream"
        )
        return "\n".join(lines)


def plan(entry: Entry, device: str = "", max_memory: float | None = None) -> Plan:
    """max_memory: gigabytes the weights may take. UserError where they do not fit, with what would."""
    where = machine.device(device)
    config, four_bit = _shape(entry)
    placed = four_bit and entry.path.is_dir() and packed.applies(entry.path, config, where)
    parts = parts_of(config, four_bit, where, placed)
    width = 4 if config.n_parameters <= SMALL or where == "mps" else 2
    cache = config.n_layer * 2 * config.kv_heads * config.d_head * width
    made = Plan(entry.name, where, parts, cache, free_bytes(where), bandwidth(where))
    limit = made.free if max_memory is None else round(max_memory * 1e9)
    if made.bytes > limit:
        what = "--max-memory allows" if max_memory is not None else "are free"
        fix = "choose a smaller or a 4-bit model (kaiwa quantize)"
        if where != "cpu":
            fix += ", or --device cpu"
        raise UserError(f"{entry.name} takes {made.bytes / 1e9:.2f} GB on {where}, {limit / 1e9:.2f} GB {what}; {fix}")
    return made


def parts_of(c: DecoderConfig, four_bit: bool, device: str, placed: bool = False) -> tuple[Part, ...]:
    """How `load` holds the weights there. `placed`: once, as the C++ step reads them (packed.py)."""
    q, kv, d = c.n_head * c.d_head, c.kv_heads * c.d_head, c.d_model
    mlp = (3 if c.dialect == "llama" else 2) * d * c.d_ff
    linears, table = c.n_layer * (d * (q + 2 * kv) + q * d + mlp), c.vocab_size * d
    rest = c.n_parameters - linears - table * (1 if c.tie_embeddings else 2)
    width = 2.0 if _half(c, four_bit, device) else 4.0
    held = read = width
    if four_bit and device == "cpu" and machine.has_int4_kernel():
        read = 0.5 + SCALES
        held = read + (0.0 if c.n_parameters > LARGE else width)
    copied = _packs(c, device) and not placed
    parts = [Part("blocks, 4-bit" if read < 2 else "blocks", linears, held, 0.0 if copied else read)]
    own = placed or not c.tie_embeddings  # the step's unembedding is a copy even of a tied one
    parts.append(Part("embedding", table, width, 0.0 if copied or own else width))
    if placed and c.tie_embeddings:
        parts.append(Part("unembedding, a copy", table, width, width))
    if not c.tie_embeddings:
        parts.append(Part("unembedding", table, width, 0.0 if copied else width))
    if copied:
        parts.append(Part("packed for the C++ step", linears, read, read))
        parts.append(Part("unembedding for it", table, 1.0 if read < 2 else width, 1.0 if read < 2 else width))
    return (*parts, Part("norms, biases", rest, width, width))


def _half(c: DecoderConfig, four_bit: bool, device: str) -> bool:
    fast = machine.has_bf16_products() if device == "cpu" else device.startswith("cuda")
    return fast and (four_bit or c.n_parameters > SMALL)


def _packs(c: DecoderConfig, device: str) -> bool:
    """Whether the C++ step will keep a copy of its own."""
    sizes = (c.d_model, c.d_head, c.d_ff)
    fits = c.dialect == "llama" and not any(size % LANES for size in sizes)
    return device == "cpu" and fits and c.n_parameters >= fused.SMALL and not native.lacking()


def _shape(entry: Entry) -> tuple[DecoderConfig, bool]:
    """The model's shape and whether its blocks are 4-bit, from headers alone."""
    if entry.path.suffix == ".gguf":
        file = GgufFile(entry.path)
        kinds = [t.kind for name, t in file.tensors.items() if ".attn_" in name and len(t.shape) == 2]
        return file.config, bool(kinds) and all(kind in FOUR_BIT for kind in kinds)
    if entry.path.suffix == ".bin":
        return Llama2cFile(entry.path).config, False
    packed = bool(read_json(entry.path / "config.json").get("quantization_config"))
    return read_config(entry.path), packed or (entry.path / "quantize_config.json").is_file()


def free_bytes(device: str) -> int:
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    if device == "mps":
        return int(torch.mps.recommended_max_memory())
    return machine.free_memory_bytes()


def bandwidth(device: str) -> float:
    """Bytes a second that all threads together read, the best of a few passes over memory larger than the caches."""
    there = torch.device(device)
    x = torch.ones(PROBE // 4, device=there)
    best = float("inf")
    for _ in range(4):
        began = time.perf_counter()
        float(x.sum())  # waits for the device
        best = min(best, time.perf_counter() - began)
    return PROBE / best
