"""Qwen3: LLaMA with a norm on each head of query and key, and heads of 128 whatever the model's width."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig
from kaiwa.model.families import llama, qwen2


def read_config(raw: Mapping[str, Any]) -> DecoderConfig:
    return qwen2.read_config(raw, head_size=128)


def write_config(c: DecoderConfig) -> dict[str, Any]:
    """Return config.json's fields. UserError for biases on query, key and value only, which Qwen3 cannot have."""
    if c.qkv_bias != c.out_bias:
        raise UserError("a model with norms and biases on query and key only has no Hugging Face layout")
    return llama.write_shape(c) | {"attention_bias": c.qkv_bias} | qwen2.window_fields(c)


QWEN3 = replace(
    llama.LLAMA,
    architecture="Qwen3ForCausalLM",
    scalar_architecture="Qwen3ForSequenceClassification",
    model_type="qwen3",
    flags={"dialect": "llama", "qk_norm": "head"},
    varies=frozenset(("qkv_bias", "out_bias", "layers", "window")),
    read_config=read_config,
    write_config=write_config,
    gguf="qwen3",
    gguf_pairs=False,
    read_gguf=lambda fields, config: config,
)
