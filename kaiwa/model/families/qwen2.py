"""Qwen2 and 2.5: LLaMA with biases on query, key and value, and perhaps a sliding window in its last layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kaiwa.model.config import DecoderConfig
from kaiwa.model.families import llama
from kaiwa.model.families.config_fields import layer_types, read_size


def read_config(raw: Mapping[str, Any], head_size: int = 0) -> DecoderConfig:
    """Read config.json; layers from `max_window_layers` on have the window where `use_sliding_window` says so."""
    window = int(raw.get("sliding_window") or 0) if raw.get("use_sliding_window") else 0
    n, first = read_size(raw, "num_hidden_layers"), int(raw.get("max_window_layers") or 0)
    layers = "g" * min(first, n) + "w" * max(0, n - first) if window else ""
    return llama.read_config(raw, window=window, layers=layers, head_size=head_size)


def window_fields(c: DecoderConfig) -> dict[str, Any]:
    """Return config.json's fields about a sliding window."""
    if not c.window:
        return {}
    return {"use_sliding_window": True, "sliding_window": c.window, "layer_types": layer_types(c)}


def write_config(c: DecoderConfig) -> dict[str, Any]:
    return llama.write_shape(c) | window_fields(c)


QWEN2 = replace(
    llama.LLAMA,
    architecture="Qwen2ForCausalLM",
    scalar_architecture="Qwen2ForSequenceClassification",
    model_type="qwen2",
    flags={"dialect": "llama", "qkv_bias": True, "out_bias": False},
    varies=frozenset(("layers", "window")),
    read_config=read_config,
    write_config=write_config,
    gguf="qwen2",
    gguf_pairs=False,
    read_gguf=lambda fields, config: config,
)
