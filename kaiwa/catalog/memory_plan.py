"""The memory plan of a model, made before a byte of its weights is read: which weights where, how large, how fast.

Speed is bounded by memory: a token reads every weight of the blocks and of the unembedding once, so tokens/s <=
bandwidth / bytes per token, with the bandwidth measured at planning time. The real speed is lower (attention,
sampling); the figure is printed as a bound.

A model larger than the card is split (cpu_offload.py): as many blocks on the card as fit beside the embeddings and the
keys and values of ROOM tokens, the others on the CPU; the two take turns, so their times per token add up.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from kaiwa.catalog.entries import Entry
from kaiwa.catalog.load import LoadedModel, load, with_weights
from kaiwa.catalog.weights import SMALL, has_bf16, open_weights
from kaiwa.core import machine
from kaiwa.core.errors import UserError
from kaiwa.engine.native import packed_model as packed
from kaiwa.engine.native import step
from kaiwa.engine.native.refusal import native_refusal
from kaiwa.engine.rows.cpu_offload import MemoryLimits, parse_limits
from kaiwa.model.config import DecoderConfig
from kaiwa.model.formats.hf_config import quantization_method
from kaiwa.model.int4 import LARGE

SCALES = 4 / 32  # bytes per weight: a bf16 scale and zero for 32 weights
ROOM = 4096  # tokens whose keys and values the card must have room for
MARGIN = 0.05  # share of the card that stays free for a pass's intermediate results
ALL = MemoryLimits()
PROBE = 1 << 28  # bytes read to measure the bandwidth


@dataclass(frozen=True, slots=True)
class WeightsPart:
    """Some of the weights: how many, bytes per weight in memory (`stored`), bytes per weight read for a token."""

    name: str
    weights: int
    stored: float
    read: float

    @property
    def bytes(self) -> int:
        return round(self.weights * self.stored)


@dataclass(frozen=True, slots=True)
class DeviceSide:
    """The weights on a device. free: its free bytes; bandwidth: bytes per second. Both 0 for an absent device."""

    device: str
    parts: tuple[WeightsPart, ...]
    free: int
    bandwidth: float

    @property
    def bytes(self) -> int:
        return sum(part.bytes for part in self.parts)

    @property
    def read(self) -> float:
        """Bytes read for a token."""
        return sum(part.weights * part.read for part in self.parts)

    def as_lines(self) -> list[str]:
        """Return the side's parts in lines for the terminal."""
        lines = [f"  {p.name:<28} {p.weights / 1e6:>10,.1f}M weights {p.bytes / 1e6:>10,.1f} MB" for p in self.parts]
        lines.append(f"  {'weights on ' + self.device:<28} {'':>18} {self.bytes / 1e6:>10,.1f} MB")
        here = f"{self.free / 1e9:,.1f} GB are free there; {self.bandwidth / 1e9:,.0f} GB/s measured"
        return [*lines, f"  {here}" if self.bandwidth else f"  there is no {self.device} here: planned only"]


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Placement of a model's weights. sides: the device; then the CPU where the model is split. cache: bytes of keys
    and values per token, on the first side. n_on_device: blocks on the first side, None for an unsplit model."""

    name: str
    sides: tuple[DeviceSide, ...]
    cache: int
    n_on_device: int | None = None

    @property
    def bytes(self) -> int:
        return sum(side.bytes for side in self.sides)

    @property
    def tokens_per_second(self) -> float:
        """The memory's bound for a single stream; 0 where a side's bandwidth is not known."""
        if not all(side.bandwidth for side in self.sides):
            return 0.0
        return 1 / max(1e-9, sum(side.read / side.bandwidth for side in self.sides))

    def as_text(self) -> str:
        """Return the plan as text for the terminal."""
        lines = [f"{self.name} on {' and '.join(side.device for side in self.sides)}"]
        lines += [line for side in self.sides for line in side.as_lines()]
        lines.append(f"  {'keys and values, 1,000 tokens':<28} {'':>17} {self.cache * 1000 / 1e6:>10,.1f} MB")
        bound = f"at most {self.tokens_per_second:,.1f} tokens/s for one stream"
        return "\n".join([*lines, f"  {bound}"] if self.tokens_per_second else lines)


def plan(entry: Entry, device: str = "", limits: MemoryLimits = ALL, measured: bool = True) -> MemoryPlan:
    """Return the placement of the weights. UserError where they do not fit, with the remedies.

    If no device is named, a limit for a card gives a plan for a card even where none exists. measured: measure the
    bandwidth too.
    """
    planned_only = limits.splits and not device and machine.device() == "cpu"
    where = "cuda" if planned_only else machine.device(device)
    entry = replace(with_weights(entry), name=entry.name)
    weights = open_weights(entry.path)
    config, four_bit = weights.config, weights.four_bit
    placed = four_bit and entry.path.is_dir() and packed.applies(entry.path, config, where)
    placed = placed and quantization_method(entry.path) != "awq"
    wide = weights.stays_fp32(where)
    width = 4 if config.n_parameters <= SMALL or where == "mps" or wide else 2
    cache = config.cache_numbers * width
    free = 0 if planned_only else free_bytes(where)
    speed = bandwidth(where) if measured and not planned_only else 0.0
    parts = parts_of(config, four_bit, where, placed, wide=wide)
    if limits.splits and where == "cpu":
        raise UserError("--max-memory gpu=…: this model goes to the CPU (no card is here, or KAIWA_DEVICE says so)")
    limit = next((n for n in (limits.gpu if where != "cpu" else limits.cpu, limits.all) if n is not None), free)
    whole = MemoryPlan(entry.name, (DeviceSide(where, parts, free, speed),), cache)
    if whole.bytes <= limit:
        return whole
    if where != "cpu" and limits.all is None:
        return _split(entry, config, whole, four_bit=four_bit, limit=limit, limit_here=limits.cpu, measured=measured)
    what = "are free" if limit == free else "--max-memory allows"
    fix = "choose a smaller or a 4-bit model (kaiwa quantize)"
    if where != "cpu":
        fix += ", --device cpu, or --max-memory gpu=…,cpu=… for both"
    raise UserError(f"{entry.name} takes {whole.bytes / 1e9:.2f} GB on {where}, {limit / 1e9:.2f} GB {what}; {fix}")


def _split(
    entry: Entry,
    c: DecoderConfig,
    whole: MemoryPlan,
    *,
    four_bit: bool,
    limit: int,
    limit_here: int | None,
    measured: bool,
) -> MemoryPlan:
    """Return a plan with as many blocks on the card as fit. UserError where the rest does not fit."""
    card = whole.sides[0]
    blocks, rest = card.parts[0], card.parts[1:]
    beside = sum(part.bytes for part in rest) + whole.cache * min(ROOM, c.max_length)
    room = limit * (1 - MARGIN) - beside
    n = int(room // (blocks.bytes / c.n_layer))
    if room < 0:
        raise UserError(
            f"{entry.name}: embeddings, keys and values take {beside / 1e9:.2f} GB on {card.device}, of"
            f" {limit / 1e9:.2f} GB {1 - MARGIN:.0%} may be used; choose --device cpu"
        )
    each = blocks.weights // c.n_layer
    on_card = replace(blocks, name=f"blocks 1 to {n}" if n else "no blocks", weights=each * n)
    stored = _on_cpu(c, four_bit, card.device)
    on_cpu = replace(stored, name=f"{stored.name} {n + 1} to {c.n_layer}", weights=each * (c.n_layer - n))
    free = free_bytes("cpu")
    most = free if limit_here is None else limit_here
    if on_cpu.bytes > most:
        what = "are free" if limit_here is None else "--max-memory allows"
        raise UserError(
            f"{entry.name}: {n} of {c.n_layer} blocks fit {card.device}; the others take"
            f" {on_cpu.bytes / 1e9:.2f} GB on the CPU, {most / 1e9:.2f} GB {what}; choose a smaller or a 4-bit model"
        )
    sides = (
        replace(card, parts=(on_card, *rest)),
        DeviceSide("cpu", (on_cpu,), free, bandwidth("cpu") if measured else 0.0),
    )
    return MemoryPlan(entry.name, sides, whole.cache, n)


def _on_cpu(c: DecoderConfig, four_bit: bool, card: str) -> WeightsPart:
    """Return how a split model's blocks are held on the CPU: by torch (the C++ step computes whole models), in the
    card's type."""
    width = 2.0 if _half(c, four_bit, card) else 4.0
    if four_bit and machine.has_int4_kernel():
        read = 0.5 + SCALES
        return WeightsPart("4-bit blocks", 0, read + (0.0 if c.n_parameters > LARGE else width), read)
    return WeightsPart("blocks", 0, width, width)


def load_here(entry: Entry, say: Callable[[str], None], max_memory: str = "", device: str = "") -> LoadedModel:
    """Load on the best device there is, split where the model is larger than the card.

    max_memory, device: as on the command line (default: KAIWA_MAX_MEMORY, KAIWA_DEVICE). UserError if the model does
    not fit.
    """
    where = machine.device(device)
    text = max_memory or os.environ.get("KAIWA_MAX_MEMORY", "")
    if where == "cpu" and not text:
        return load(entry, say, where)
    limits = parse_limits(text) if text else ALL
    return load(entry, say, where, plan(entry, where, limits, measured=False).n_on_device)


def has_room(entry: Entry) -> bool:
    """Return whether all of the model fits the card's free memory; True without a card or with KAIWA_MAX_MEMORY set."""
    where = machine.device()
    if not where.startswith("cuda") or os.environ.get("KAIWA_MAX_MEMORY"):
        return True
    weights = open_weights(with_weights(entry).path)
    return sum(part.bytes for part in parts_of(weights.config, weights.four_bit, where)) <= free_bytes(where)


def parts_of(
    c: DecoderConfig, four_bit: bool, device: str, placed: bool = False, *, wide: bool = False
) -> tuple[WeightsPart, ...]:
    """Return how `load` holds the weights on a device. `placed`: once, as the C++ step reads them (packed_model.py).

    wide: in fp32 whatever the size.
    """
    linears, table = c.n_layer * c.block_products, c.vocab_size * c.d_model
    rest = c.n_parameters - linears - table * (1 if c.tie_embeddings else 2)
    width = 2.0 if _half(c, four_bit, device) and not wide else 4.0
    stored = read = width
    if four_bit and device == "cpu" and machine.has_int4_kernel():
        read = 0.5 + SCALES
        stored = read + (0.0 if c.n_parameters > LARGE else width)
    copied = _packs(c, device) and not placed
    parts = [WeightsPart("blocks, 4-bit" if read < 2 else "blocks", linears, stored, 0.0 if copied else read)]
    own = placed or not c.tie_embeddings  # the step's unembedding is a copy even of a tied one
    parts.append(WeightsPart("embedding", table, width, 0.0 if copied or own else width))
    if placed and c.tie_embeddings:
        parts.append(WeightsPart("unembedding, a copy", table, width, width))
    if not c.tie_embeddings:
        parts.append(WeightsPart("unembedding", table, width, 0.0 if copied else width))
    if copied:
        parts.append(WeightsPart("packed for the C++ step", linears, read, read))
        parts.append(WeightsPart("unembedding for it", table, 1.0 if read < 2 else width, 1.0 if read < 2 else width))
    return (*parts, WeightsPart("norms, biases", rest, width, width))


def _half(c: DecoderConfig, four_bit: bool, device: str) -> bool:
    return has_bf16(device) and (four_bit or c.n_parameters > SMALL)


def _packs(c: DecoderConfig, device: str) -> bool:
    """Return whether the C++ step will keep a copy of its own."""
    return c.n_parameters >= step.SMALL and not native_refusal(c, device)


def free_bytes(device: str) -> int:
    """Return the bytes of free memory on a device."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    if device == "mps":
        return int(torch.mps.recommended_max_memory())
    return machine.free_memory_bytes()


def bandwidth(device: str) -> float:
    """Measure the bytes per second read by all threads together: the best of a few passes over a large buffer."""
    target = torch.device(device)
    x = torch.ones(PROBE // 4, device=target)
    best = float("inf")
    for _ in range(4):
        began = time.perf_counter()
        float(x.sum())  # float() waits for the device
        best = min(best, time.perf_counter() - began)
    return PROBE / best
