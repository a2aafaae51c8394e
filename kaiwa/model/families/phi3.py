"""Phi-3, 3.5 and Phi-4: LLaMA with query, key and value in one tensor, and gate and up in another; Phi-4-mini rotates
a part of each head.

Long contexts (`longrope`) have two lists of divisors, one for texts up to the original length and one for longer texts:
a text's earlier keys would have to be computed anew where it grows beyond the original length, to which the context is
cut here. Within it the result is transformers'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig, RopeScaling
from kaiwa.model.families import llama
from kaiwa.model.families.config_fields import longrope_scale, read_partial, read_rope
from kaiwa.model.families.family import GgufFields


def read_config(raw: Mapping[str, Any]) -> DecoderConfig:
    """Read config.json, where the original length of `longrope` is a field of its own."""
    rope = dict(llama.rope_fields(raw))
    if original := raw.get("original_max_position_embeddings"):
        rope["original_max_position_embeddings"] = original
    plain = {name: value for name, value in raw.items() if name not in ("rope_parameters", "rope_scaling")}
    theta = {"rope_theta": rope.get("rope_theta", raw.get("rope_theta", 10000.0))}
    # the divisors are for the rotated dimensions, which llama.read_config does not know
    config = llama.read_config(plain | theta, window=int(raw.get("sliding_window") or 0))
    scaling = read_rope(rope, config.max_length)
    return replace(
        config,
        rotary_size=read_partial(raw, config.d_head),
        rope=scaling,
        max_length=min(config.max_length, scaling.original_length) if scaling.divisors else config.max_length,
    )


def write_config(c: DecoderConfig) -> dict[str, Any]:
    """Return config.json's fields. UserError for layers of several kinds, which Phi-3 does not have."""
    if c.layers not in ("g", "w"):
        raise UserError(f"a model with layers {c.layers[:40]!r} has no Hugging Face layout")
    fields = llama.write_shape(c) | {"sliding_window": c.window or None, "pad_token_id": None}
    if c.rotary_size:
        fields["partial_rotary_factor"] = c.rotary_size / c.d_head
    if c.rope.divisors:
        fields["original_max_position_embeddings"] = c.rope.original_length
    return fields


def read_gguf(fields: GgufFields, c: DecoderConfig) -> DecoderConfig:
    window, size = int(fields("attention.sliding_window", 0)), int(fields("rope.dimension_count", c.d_head))
    config = replace(c, rotary_size=0 if size == c.d_head else size)
    if window and window < c.max_length:
        config = replace(config, layers="w", window=window)
    divisors = fields.numbers("rope_factors_short.weight")
    if not divisors:
        return config
    original = int(fields("rope.scaling.original_context_length", c.max_length))
    default = longrope_scale(c.max_length / original, original)
    rope = RopeScaling(
        kind="longrope",
        divisors=divisors,
        original_length=original,
        attention=float(fields("rope.scaling.attn_factor", default)),
    )
    return replace(config, rope=rope, max_length=min(c.max_length, original))


def write_gguf(c: DecoderConfig) -> dict[str, Any]:
    return {"attention.sliding_window": c.window} if c.window else {}


PHI3 = replace(
    llama.LLAMA,
    architecture="Phi3ForCausalLM",
    scalar_architecture="",
    model_type="phi3",
    varies=frozenset(("layers", "window", "rotary_size")),
    read_config=read_config,
    write_config=write_config,
    tensors={**llama.TENSORS, "qkv": ("self_attn.qkv_proj",), "up": ("mlp.gate_up_proj",)},
    gguf="phi3",
    gguf_parts={"qkv": ("attn_qkv",), "up": ("ffn_up",)},
    gguf_pairs=False,
    read_gguf=read_gguf,
    write_gguf=write_gguf,
)
