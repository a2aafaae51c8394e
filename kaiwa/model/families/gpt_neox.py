"""GPT-NeoX and Pythia: GPT-3's dialect with rotary positions in a part of each head, attention and feed-forward part
side by side, and query, key and value of each head one after another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig
from kaiwa.model.families.config_fields import read_rope, read_size, require_value, write_rope
from kaiwa.model.families.family import Family, GgufFields
from kaiwa.model.families.llama import rope_fields

ACTIVATIONS = {"gelu": "gelu_erf", "gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "gelu_fast": "gelu"}


def read_config(raw: Mapping[str, Any]) -> DecoderConfig:
    """Read config.json of transformers 4 (rotary_pct, rotary_emb_base) or 5 (rope_parameters)."""
    require_value(raw, "hidden_act", tuple(ACTIVATIONS))
    require_value(raw, "attention_bias", (True,))
    rope, width, heads = rope_fields(raw), read_size(raw, "hidden_size"), read_size(raw, "num_attention_heads")
    share = float(rope.get("partial_rotary_factor", raw.get("rotary_pct", 0.25)))
    rotated = int(width // heads * share)
    if rotated < 2:
        raise UserError(f"rotary_pct is {share}: no dimension of a head of {width // heads} would be rotated")
    return DecoderConfig(
        dialect="gpt3",
        vocab_size=read_size(raw, "vocab_size"),
        d_model=width,
        n_layer=read_size(raw, "num_hidden_layers"),
        n_head=heads,
        d_ff=read_size(raw, "intermediate_size"),
        max_length=read_size(raw, "max_position_embeddings"),
        rope_theta=float(rope.get("rope_theta", raw.get("rotary_emb_base", 10000.0))),
        norm_eps=float(raw["layer_norm_eps"]),
        tie_embeddings=bool(raw.get("tie_word_embeddings", False)),
        rope=read_rope(rope, read_size(raw, "max_position_embeddings")),
        rotary_size=rotated,
        activation=ACTIVATIONS[raw.get("hidden_act", "gelu")],  # type: ignore[arg-type]
        parallel=bool(raw.get("use_parallel_residual", True)),
    )


def write_config(c: DecoderConfig) -> dict[str, Any]:
    return {
        "vocab_size": c.vocab_size,
        "hidden_size": c.d_model,
        "num_hidden_layers": c.n_layer,
        "num_attention_heads": c.n_head,
        "intermediate_size": c.d_ff,
        "max_position_embeddings": c.max_length,
        "layer_norm_eps": c.norm_eps,
        "hidden_act": "gelu" if c.activation == "gelu_erf" else "gelu_new",
        "rotary_pct": c.rotated / c.d_head,
        "rotary_emb_base": c.rope_theta,
        "use_parallel_residual": c.parallel,
        "tie_word_embeddings": c.tie_embeddings,
        **({"rope_scaling": write_rope(c.rope)} if c.rope.kind != "none" else {}),
    }


def read_gguf(fields: GgufFields, c: DecoderConfig) -> DecoderConfig:
    size = int(fields("rope.dimension_count", c.d_head // 4))
    parallel = bool(fields("use_parallel_residual", True))
    return replace(c, rotary_size=size, activation="gelu_erf", parallel=parallel)


def write_gguf(c: DecoderConfig) -> dict[str, Any]:
    """Return GGUF's fields. UserError for an activation that GGUF has no field for."""
    if c.activation != "gelu_erf":
        raise UserError("GGUF's gptneox has GELU by the error function only; export for transformers instead")
    return {"use_parallel_residual": c.parallel, "rope.dimension_count": c.rotated}


GPT_NEOX = Family(
    architecture="GPTNeoXForCausalLM",
    scalar_architecture="GPTNeoXForSequenceClassification",
    model_type="gpt_neox",
    flags={"dialect": "gpt3"},
    varies=frozenset(("rotary_size", "activation", "parallel")),
    read_config=read_config,
    write_config=write_config,
    layers="gpt_neox.layers.",
    tensors={
        "qkv": ("attention.query_key_value",),
        "out": ("attention.dense",),
        "up": ("mlp.dense_h_to_4h",),
        "down": ("mlp.dense_4h_to_h",),
        "norm_attn": ("input_layernorm",),
        "norm_mlp": ("post_attention_layernorm",),
    },
    top={
        "embed.weight": "gpt_neox.embed_in.weight",
        "norm.weight": "gpt_neox.final_layer_norm.weight",
        "norm.bias": "gpt_neox.final_layer_norm.bias",
        "unembed.weight": "embed_out.weight",
    },
    qkv_by_head=True,
    gguf="gptneox",
    gguf_parts={"qkv": ("attn_qkv",), "up": ("ffn_up",)},
    read_gguf=read_gguf,
    write_gguf=write_gguf,
)
