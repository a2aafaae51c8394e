"""What a run will hold in memory, told before it starts; `--plan` prints it alone.

Weights, gradients and optimizer states are exact (fp32: 4 bytes a weight; a trained one has a gradient and AdamW's two
means beside it: 16). The cache of the rollouts and the activations of a step are upper estimates.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kaiwa.catalog.weights import open_weights
from kaiwa.model.config import DecoderConfig
from kaiwa.rlhf.config import RLHFConfig

WEIGHT, TRAINED = 4, 16  # bytes
ROWS = 256  # most answers that the engine continues at once


@dataclass(frozen=True, slots=True)
class Part:
    """bytes held by one part of a run; `how` in a few words."""

    name: str
    how: str
    bytes: int


def memory_parts(
    config: RLHFConfig, policy: DecoderConfig, reward: DecoderConfig | None, longest: int = 0
) -> list[Part]:
    """longest: tokens of the longest prompt (0: unknown, so that an episode may fill the context)."""
    c, p = config, policy.n_parameters
    change = low_rank_parameters(policy, c.lora_rank)
    if c.lora_rank:
        parts = [Part("policy", f"frozen, a change of rank {c.lora_rank} trained", p * WEIGHT + change * TRAINED)]
        parts.append(Part("reference", "the policy without its change", 0))
    else:
        parts = [Part("policy", "weights, gradients, AdamW", p * TRAINED), Part("reference", "frozen copy", p * WEIGHT)]
    if reward is not None:
        parts.append(Part("reward", "frozen", scalar_parameters(reward) * WEIGHT))
    if c.has_value:
        trunk = reward or policy
        if c.shared_trunk and reward is not None:
            own = reward.d_model + low_rank_parameters(reward, c.lora_rank)
            parts.append(Part("value", "a head on the reward model's trunk", own * TRAINED))
        else:
            parts.append(Part("value", "weights, gradients, AdamW", scalar_parameters(trunk) * TRAINED))
    if c.ema:
        parts.append(Part("average", "of the policy", (p + change) * WEIGHT))
    length = min(policy.max_length, longest + c.max_tokens) if longest else policy.max_length
    cache = min(ROWS, c.batch) * length * policy.cache_numbers * WEIGHT
    parts.append(Part("cache", f"{min(ROWS, c.batch)} rollouts of up to {length} tokens", cache))
    step, of = activations(policy, c.microbatch, length, c.max_tokens), f"{c.microbatch} episodes of {length} tokens"
    if c.has_pretraining:
        rows = min(c.microbatch, c.ptx_rows)
        if (text := activations(policy, rows, c.ptx_width, c.ptx_width)) > step:
            step, of = text, f"{rows} rows of text of {c.ptx_width} tokens"
    parts.append(Part("activations", f"of {of}", step))
    return parts


def low_rank_parameters(config: DecoderConfig, rank: int) -> int:
    d, f, q, kv = config.d_model, config.d_ff, config.n_head * config.d_head, config.kv_heads * config.d_head
    up = f * (2 if config.dialect == "llama" else 1)
    return config.n_layer * rank * ((d + q + 2 * kv) + (q + d) + (d + up) + (f + d))


def scalar_parameters(config: DecoderConfig) -> int:
    """A decoder with a scalar head; its unembedding is loaded too."""
    return config.n_parameters + config.d_model


def activations(config: DecoderConfig, rows: int, width: int, scored: int) -> int:
    """Bytes kept for the backward pass: some 10 vectors of d_model and 4 of d_ff a token and layer, logits twice."""
    layer = 10 * config.d_model + 4 * config.d_ff
    return rows * (width * config.n_layer * layer + 2 * scored * config.vocab_size) * 4


def memory_table(config: RLHFConfig, policy: Path, reward: Path | None, longest: int = 0) -> str:
    """The table as text, one part a line."""
    return as_text(memory_parts(config, shape(policy), shape(reward) if reward is not None else None, longest))


def as_text(parts: list[Part]) -> str:
    lines = [f"  {p.name:<12}{p.bytes / 1e6:>12,.1f} MB  {p.how}" for p in parts]
    total = sum(p.bytes for p in parts)
    return "\n".join(["memory, at most:", *lines, f"  {'in all':<12}{total / 1e6:>12,.1f} MB"])


def shape(folder: Path) -> DecoderConfig:
    return open_weights(folder).config
