"""Gemma 3 (text): Gemma 2 with a norm on each head of query and key instead of soft caps, and two kinds of rotary
positions: five of six layers look back over a sliding window and turn by a theta of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kaiwa.model.config import DecoderConfig, Scales
from kaiwa.model.families import gemma2
from kaiwa.model.families.config_fields import read_rope, read_size, require_value
from kaiwa.model.families.family import GgufFields

LAYERS, LOCAL_THETA, THETA = "wwwwwg", 10000.0, 1_000_000.0
LAYERS_27B = 62


def read_config(raw: Mapping[str, Any]) -> DecoderConfig:
    """Read config.json of transformers 4 (rope_theta, rope_local_base_freq) or 5 (rope_parameters by kind of layer)."""
    every = raw.get("sliding_window_pattern") or len(LAYERS)
    pattern = "w" * (read_size({"sliding_window_pattern": every}, "sliding_window_pattern") - 1) + "g"
    ropes = raw.get("rope_parameters")
    ropes = ropes if isinstance(ropes, Mapping) else {}
    whole, local = (
        part if isinstance(part := ropes.get(kind), Mapping) else {} for kind in ("full_attention", "sliding_attention")
    )
    require_value(local, "rope_type", ("default",))
    plain = {name: value for name, value in raw.items() if name not in ("rope_parameters", "rope_scaling")}
    return replace(
        gemma2.read_config(plain, pattern),
        rope_theta=float(whole.get("rope_theta", raw.get("rope_theta", THETA))),
        rope=read_rope(whole or raw.get("rope_scaling") or {}, read_size(raw, "max_position_embeddings")),
        local_theta=float(local.get("rope_theta", raw.get("rope_local_base_freq", LOCAL_THETA))),
    )


def write_config(c: DecoderConfig) -> dict[str, Any]:
    return gemma2.write_config(c) | {"rope_local_base_freq": c.local_theta or c.rope_theta}


def read_gguf(fields: GgufFields, c: DecoderConfig) -> DecoderConfig:
    window = int(fields("attention.sliding_window", 1024))
    scales = Scales(embedding_scale=math.sqrt(c.d_model), attention_scale=gemma2.gguf_attention_scale(c, LAYERS_27B))
    theta = float(fields("rope.freq_base", THETA))
    return replace(c, layers=LAYERS, window=window, scales=scales, rope_theta=theta, local_theta=LOCAL_THETA)


def write_gguf(c: DecoderConfig) -> dict[str, Any]:
    gemma2.require_gguf(c, LAYERS, LAYERS_27B)
    return {"attention.sliding_window": c.window}


GEMMA3 = replace(
    gemma2.GEMMA2,
    architecture="Gemma3ForCausalLM",
    model_type="gemma3_text",
    flags=gemma2.FLAGS | {"qk_norm": "head"},
    varies=gemma2.GEMMA2.varies | {"local_theta"},
    read_config=read_config,
    write_config=write_config,
    gguf="gemma3",
    read_gguf=read_gguf,
    write_gguf=write_gguf,
)
