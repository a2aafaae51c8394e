"""Rotary positions (Su et al., 2021) and their scalings to longer contexts.

Legend of shapes: B rows, T positions, H heads, K key/value heads, E size of a head, R rotated dimensions of a head.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from kaiwa.model import kernels
from kaiwa.model.config import DecoderConfig, RopeScaling


def rotary_frequencies(config: DecoderConfig, device: torch.device | None = None) -> Tensor:
    """Return the angles per position [R/2], fp32, scaled as `config.rope` says."""
    c, rope, R = config, config.rope, config.rotated
    plain = c.rope_theta ** (-torch.arange(0, R, 2, device=device, dtype=torch.float32) / R)
    if rope.kind == "none":
        return plain
    if rope.kind == "linear":
        return plain / rope.factor
    if rope.kind == "longrope":
        return plain / torch.tensor(rope.divisors, device=device)
    if rope.kind == "yarn":
        low, high = (yarn_dimension(c, turns) for turns in (rope.high_factor, rope.low_factor))
        low, high = (math.floor(low), math.ceil(high)) if rope.whole else (low, high)
        low, high = max(low, 0), min(high, R - 1)
        ramp = torch.arange(R // 2, device=device, dtype=torch.float32) - low
        keep = 1 - (ramp / (high - low if high != low else 0.001)).clamp(0, 1)
        return plain * (keep + (1 - keep) / rope.factor)
    turns = rope.original_length * plain / (2 * math.pi)
    keep = ((turns - rope.low_factor) / (rope.high_factor - rope.low_factor)).clamp(0, 1)
    return plain * (keep + (1 - keep) / rope.factor)


def yarn_dimension(config: DecoderConfig, turns: float) -> float:
    """Return the pair of dimensions that turns so many times within the original length (YaRN, equation 14 solved for
    d)."""
    length = config.rope.original_length
    return config.rotated * math.log(length / (turns * 2 * math.pi)) / (2 * math.log(config.rope_theta))


def rotary_angles(positions: Tensor, config: DecoderConfig) -> tuple[Tensor, Tensor]:
    """Return cosines and sines [B,T,1,R/2], fp32, of positions [B,T] (LLaMA's halves, not pairs)."""
    angles = positions.float()[..., None, None] * rotary_frequencies(config, positions.device)
    return angles.cos() * config.rope.attention, angles.sin() * config.rope.attention


def local_config(config: DecoderConfig) -> DecoderConfig:
    """Return a config whose rotary positions are those of the layers with a window."""
    if not config.local_theta:
        return config
    return dataclasses.replace(config, rope_theta=config.local_theta, rope=RopeScaling())


def rotary_by_layer(positions: Tensor, config: DecoderConfig) -> list[tuple[Tensor, Tensor] | None]:
    """Return each layer's cosines and sines [B,T,1,R/2] of positions [B,T]; None where a layer has none."""
    if config.learned_positions:
        return [None] * config.n_layer
    by_kind: dict[str, tuple[Tensor, Tensor] | None] = {"g": rotary_angles(positions, config), "n": None}
    by_kind["w"] = rotary_angles(positions, local_config(config)) if config.local_theta else by_kind["g"]
    return [by_kind[config.layer_kind(layer)] for layer in range(config.n_layer)]


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the first R dimensions of x [B,T,*,E]: their first half against the second. cos, sin [B,T,1,R/2]."""
    R = 2 * cos.shape[-1]
    a, b = x[..., :R].float().chunk(2, dim=-1)
    turned = (a * cos - b * sin, b * cos + a * sin)
    rest = (x[..., R:].float(),) if x.shape[-1] > R else ()
    return torch.cat((*turned, *rest), dim=-1).to(x.dtype)


def rotate_both(x: Tensor, n_head: int, kv_heads: int, cos: Tensor, sin: Tensor) -> tuple[Tensor, ...]:
    """Return query and key rotated, and value unchanged, of x [B,T,H+2K,E], which may be changed."""
    whole = 2 * cos.shape[-1] == x.shape[-1]
    rotated = kernels.rotate(x, n_head + kv_heads, cos, sin) if whole else None
    if rotated is not None:
        return rotated.split([n_head, kv_heads, kv_heads], dim=2)  # type: ignore[no-untyped-call,no-any-return]
    both = rotate(x[:, :, : n_head + kv_heads], cos, sin)
    return both[:, :, :n_head], both[:, :, n_head:], x[:, :, n_head + kv_heads :]
