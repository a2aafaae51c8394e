"""The memory that a run will need, printed before the run starts; `--plan` prints the table and stops.

Weights, gradients and optimizer states are exact: in fp32 a frozen weight takes 4 bytes, a trained weight 16 (weight,
gradient, AdamW's two means). The cache of the rollouts and the activations of a step are upper estimates.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kaiwa.catalog.weights import open_weights
from kaiwa.model.config import DecoderConfig
from kaiwa.rlhf.config import RLHFConfig

WEIGHT, TRAINED = 4, 16  # bytes
ROWS = 256  # largest number of answers that the engine generates at once


@dataclass(frozen=True, slots=True)
class MemoryPart:
    """The memory of one part of a run in bytes. how: a description in a few words."""

    name: str
    how: str
    bytes: int


def memory_parts(
    config: RLHFConfig, policy: DecoderConfig, reward: DecoderConfig | None, longest: int = 0
) -> list[MemoryPart]:
    """Return the memory of each part of a run.

    longest: tokens of the longest prompt; 0 if unknown, for episodes that fill the context.
    """
    c, p = config, policy.n_parameters
    change = low_rank_parameters(policy, c.lora_rank)
    if c.lora_rank:
        parts = [MemoryPart("policy", f"frozen, a change of rank {c.lora_rank} trained", p * WEIGHT + change * TRAINED)]
        parts.append(MemoryPart("reference", "the policy without its change", 0))
    else:
        parts = [
            MemoryPart("policy", "weights, gradients, AdamW", p * TRAINED),
            MemoryPart("reference", "frozen copy", p * WEIGHT),
        ]
    if reward is not None:
        parts.append(MemoryPart("reward", "frozen", scalar_parameters(reward) * WEIGHT))
    if c.has_value:
        trunk = reward or policy
        if c.shared_trunk and reward is not None:
            own = reward.d_model + low_rank_parameters(reward, c.lora_rank)
            parts.append(MemoryPart("value", "a head on the reward model's trunk", own * TRAINED))
        else:
            parts.append(MemoryPart("value", "weights, gradients, AdamW", scalar_parameters(trunk) * TRAINED))
    if c.steps.ema:
        parts.append(MemoryPart("average", "of the policy", (p + change) * WEIGHT))
    length = min(policy.max_length, longest + c.max_tokens) if longest else policy.max_length
    cache = min(ROWS, c.batch) * length * policy.cache_numbers * WEIGHT
    parts.append(MemoryPart("cache", f"{min(ROWS, c.batch)} rollouts of up to {length} tokens", cache))
    step, contents = (
        activations(policy, c.microbatch, length, c.max_tokens),
        f"{c.microbatch} episodes of {length} tokens",
    )
    if c.has_pretraining:
        rows = min(c.microbatch, c.pretraining.ptx_rows)
        if (text := activations(policy, rows, c.pretraining.ptx_width, c.pretraining.ptx_width)) > step:
            step, contents = text, f"{rows} rows of text of {c.pretraining.ptx_width} tokens"
    parts.append(MemoryPart("activations", f"of {contents}", step))
    return parts


def low_rank_parameters(config: DecoderConfig, rank: int) -> int:
    """Return the number of weights of a LoRA adapter on every linear layer."""
    d, f, q, kv = config.d_model, config.d_ff, config.n_head * config.d_head, config.kv_heads * config.d_head
    up = f * (2 if config.dialect == "llama" else 1)
    return config.n_layer * rank * ((d + q + 2 * kv) + (q + d) + (d + up) + (f + d))


def scalar_parameters(config: DecoderConfig) -> int:
    """Return the number of weights of a decoder with a scalar head, including the loaded but unused unembedding."""
    return config.n_parameters + config.d_model


def activations(config: DecoderConfig, rows: int, width: int, scored: int) -> int:
    """Return the bytes kept for the backward pass.

    The estimate is 10 vectors of d_model and 4 of d_ff per token and layer, and the logits twice.
    """
    layer = 10 * config.d_model + 4 * config.d_ff
    return rows * (width * config.n_layer * layer + 2 * scored * config.vocab_size) * 4


def memory_table(config: RLHFConfig, policy: Path, reward: Path | None, longest: int = 0) -> str:
    """Return the memory of a run's parts as a table for the terminal, from the folders of policy and reward model."""
    return table_text(
        memory_parts(config, read_config(policy), read_config(reward) if reward is not None else None, longest)
    )


def table_text(parts: list[MemoryPart]) -> str:
    """Return the parts as a table for the terminal."""
    lines = [f"  {p.name:<12}{p.bytes / 1e6:>12,.1f} MB  {p.how}" for p in parts]
    total = sum(p.bytes for p in parts)
    return "\n".join(["memory, at most:", *lines, f"  {'in all':<12}{total / 1e6:>12,.1f} MB"])


def read_config(folder: Path) -> DecoderConfig:
    """Return the configuration of the decoder in a folder or file."""
    return open_weights(folder).config
