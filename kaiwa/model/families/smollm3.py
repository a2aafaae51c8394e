"""SmolLM3: LLaMA in which every fourth layer has no rotary positions (Yang et al., 2025)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig
from kaiwa.model.families import llama
from kaiwa.model.families.config_fields import read_size, require_value, shortest_pattern
from kaiwa.model.families.family import GgufFields

LAYERS = "gggn"


def read_config(raw: Mapping[str, Any]) -> DecoderConfig:
    """Read config.json; `no_rope_layers` has 1 for a layer with rotary positions, 0 for a layer without."""
    require_value(raw, "use_sliding_window", (False,))
    n = read_size(raw, "num_hidden_layers")
    rotates = raw.get("no_rope_layers")
    if rotates is None:
        every = int(raw.get("no_rope_layer_interval") or len(LAYERS))
        rotates = [int((layer + 1) % every != 0) for layer in range(n)]
    if not isinstance(rotates, list) or len(rotates) != n or any(r not in (0, 1) for r in rotates):
        raise UserError(f"no_rope_layers must be {n} numbers, each 0 or 1")
    config = llama.read_config(
        {**raw, "tie_word_embeddings": raw.get("tie_word_embeddings", True), "layer_types": None}
    )
    return replace(config, layers=shortest_pattern("".join("ng"[r] for r in rotates)))


def write_config(c: DecoderConfig) -> dict[str, Any]:
    """Return config.json's fields. UserError for layers with a window, or biases on query, key and value only."""
    if c.window or c.qkv_bias != c.out_bias:
        raise UserError("a model of SmolLM3's kind with a window or some biases has no Hugging Face layout")
    kinds = [c.layer_kind(layer) for layer in range(c.n_layer)]
    return llama.write_shape(c) | {
        "no_rope_layers": [int(kind != "n") for kind in kinds],
        "attention_bias": c.qkv_bias,
        "mlp_bias": False,
        "use_sliding_window": False,
        "pad_token_id": None,
    }


def read_gguf(fields: GgufFields, c: DecoderConfig) -> DecoderConfig:
    return replace(c, layers=LAYERS)


def write_gguf(c: DecoderConfig) -> dict[str, Any]:
    if c.layers != LAYERS:
        raise UserError(f"GGUF has no field for the kinds of layers {c.layers[:40]!r} of this model")
    return {}


SMOLLM3 = replace(
    llama.LLAMA,
    architecture="SmolLM3ForCausalLM",
    scalar_architecture="SmolLM3ForSequenceClassification",
    model_type="smollm3",
    varies=llama.LLAMA.varies | {"layers"},
    read_config=read_config,
    write_config=write_config,
    gguf="smollm3",
    read_gguf=read_gguf,
    write_gguf=write_gguf,
)
