"""Qwen2 and Qwen2.5: LLaMA with biases on query, key and value."""

from __future__ import annotations

from dataclasses import replace

from kaiwa.model.families import llama

QWEN2 = replace(
    llama.LLAMA,
    architecture="Qwen2ForCausalLM",
    scalar_architecture="Qwen2ForSequenceClassification",
    model_type="qwen2",
    flags={"dialect": "llama", "qk_norm": False, "qkv_bias": True, "out_bias": False},
    write_config=llama.write_shape,
    gguf="qwen2",
    gguf_pairs=False,
)
