"""OLMo 2: LLaMA with norms of each part's result instead of its input, and of all heads of query and key together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig
from kaiwa.model.families import llama


def write_config(c: DecoderConfig) -> dict[str, Any]:
    """Return config.json's fields. UserError for biases on query, key and value only."""
    if c.qkv_bias != c.out_bias:
        raise UserError("a model of OLMo 2's kind with biases on query, key and value only has no Hugging Face layout")
    return llama.write_shape(c) | {"attention_bias": c.qkv_bias}


OLMO2 = replace(
    llama.LLAMA,
    architecture="Olmo2ForCausalLM",
    scalar_architecture="Olmo2ForSequenceClassification",
    model_type="olmo2",
    flags={"dialect": "llama", "qk_norm": "all", "norms": "after"},
    write_config=write_config,
    tensors={
        **{part: names for part, names in llama.TENSORS.items() if part not in ("norm_attn", "norm_mlp")},
        "norm_out": ("post_attention_layernorm",),
        "norm_down": ("post_feedforward_layernorm",),
    },
    gguf="olmo2",
    gguf_parts={"norm_out": ("post_attention_norm",), "norm_down": ("post_ffw_norm",)},
    gguf_pairs=False,
    read_gguf=lambda fields, config: config,
)
