"""Phi-3 and Phi-3.5, short contexts: LLaMA with query, key and value in one tensor, and gate and up in another.

Read only: Phi-3 is written as LLaMA. Long contexts (`longrope`) and Phi-4's partly rotated heads are refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kaiwa.model.config import DecoderConfig
from kaiwa.model.families import llama
from kaiwa.model.families.config_fields import require_value


def read_config(raw: Mapping[str, Any]) -> DecoderConfig:
    """Read config.json; the context is cut to the sliding window, within which the result is the same."""
    require_value(raw, "partial_rotary_factor", (1, 1.0))
    rope = raw.get("rope_parameters")
    if isinstance(rope, Mapping):
        require_value(rope, "partial_rotary_factor", (1, 1.0))
    return llama.read_config(raw, window=int(raw.get("sliding_window") or 0))


PHI3 = replace(
    llama.LLAMA,
    architecture="Phi3ForCausalLM",
    scalar_architecture="",
    model_type="phi3",
    read_config=read_config,
    tensors={**llama.TENSORS, "qkv": ("self_attn.qkv_proj",), "up": ("mlp.gate_up_proj",)},
    gguf="phi3",
    gguf_parts={"qkv": ("attn_qkv",), "up": ("ffn_up",)},
    gguf_pairs=False,
)
