"""LLaMA 1 to 3 and models of the same architecture (Vicuna, SmolLM): the layout that Mistral and Qwen share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig
from kaiwa.model.families.config_fields import read_layers, read_rope, read_size, require_value, write_rope
from kaiwa.model.families.family import Family, GgufFields

LAYERS = "model.layers."
TENSORS = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "out": ("self_attn.o_proj",),
    "up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
    "norm_attn": ("input_layernorm",),
    "norm_mlp": ("post_attention_layernorm",),
    "norm_q": ("self_attn.q_norm",),
    "norm_k": ("self_attn.k_norm",),
}
TOP = {"embed.weight": "model.embed_tokens.weight", "norm.weight": "model.norm.weight"}


def read_config(raw: Mapping[str, Any], *, window: int = 0, head_size: int = 0, layers: str = "") -> DecoderConfig:
    """Read config.json. window: tokens of a sliding window; head_size: the family's where none is named (0: neither).
    layers: as `read_layers`' default."""
    require_value(raw, "hidden_act", ("silu",))
    require_value(raw, "mlp_bias", (False,))
    length = read_size(raw, "max_position_embeddings")
    rope = rope_fields(raw)
    size = read_size(raw, "head_dim") if raw.get("head_dim") else head_size
    layers, window = read_layers(raw, window, layers)
    biased = bool(raw.get("attention_bias", False))
    return DecoderConfig(
        dialect="llama",
        vocab_size=read_size(raw, "vocab_size"),
        d_model=read_size(raw, "hidden_size"),
        n_layer=read_size(raw, "num_hidden_layers"),
        n_head=read_size(raw, "num_attention_heads"),
        n_kv_head=read_size(raw, "num_key_value_heads") if raw.get("num_key_value_heads") else 0,
        d_ff=read_size(raw, "intermediate_size"),
        max_length=length,
        rope_theta=float(rope.get("rope_theta", raw.get("rope_theta", 10000.0))),
        norm_eps=float(raw["rms_norm_eps"]),
        tie_embeddings=bool(raw.get("tie_word_embeddings", False)),
        head_size=0 if size * read_size(raw, "num_attention_heads") == read_size(raw, "hidden_size") else size,
        qkv_bias=biased,
        out_bias=biased,
        rope=read_rope(rope, length),
        layers=layers,
        window=window,
    )


def rope_fields(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the object about rotary positions of transformers 5 (rope_parameters) or 4 (rope_scaling); {} if none."""
    rope = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    if not isinstance(rope, Mapping):
        raise UserError(f"rope scaling is {str(rope)[:40]!r}; an object is expected")
    return rope


def write_shape(c: DecoderConfig) -> dict[str, Any]:
    """Return the fields of config.json that LLaMA and its relatives share."""
    return {
        "vocab_size": c.vocab_size,
        "hidden_size": c.d_model,
        "num_hidden_layers": c.n_layer,
        "num_attention_heads": c.n_head,
        "num_key_value_heads": c.kv_heads,
        "intermediate_size": c.d_ff,
        "max_position_embeddings": c.max_length,
        "rope_theta": c.rope_theta,
        "rms_norm_eps": c.norm_eps,
        "tie_word_embeddings": c.tie_embeddings,
        "hidden_act": "silu",
        **({"head_dim": c.d_head} if c.head_size or c.qk_norm else {}),
        **({"rope_scaling": write_rope(c.rope)} if c.rope.kind != "none" else {}),
    }


def read_gguf(fields: GgufFields, config: DecoderConfig) -> DecoderConfig:
    """Add the window that converters keep for Mistral under LLaMA's name."""
    window = int(fields("attention.sliding_window", 0))
    return replace(config, layers="w", window=window) if window else config


def write_config(c: DecoderConfig) -> dict[str, Any]:
    return write_shape(c) | {"mlp_bias": False, "attention_bias": c.qkv_bias}


LLAMA = Family(
    architecture="LlamaForCausalLM",
    scalar_architecture="LlamaForSequenceClassification",
    model_type="llama",
    flags={"dialect": "llama"},
    varies=frozenset(("qkv_bias", "out_bias")),
    read_config=read_config,
    write_config=write_config,
    layers=LAYERS,
    tensors=TENSORS,
    top=TOP,
    gguf="llama",
    gguf_pairs=True,
    read_gguf=read_gguf,
)
