"""GPT-2, whose layout holds GPT-3's dialect. Products are transposed; query, key and value are fused as ours are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaiwa.model.config import DecoderConfig
from kaiwa.model.families.config_fields import read_size, require_value
from kaiwa.model.families.family import Family

ACTIVATIONS = {"gelu_new": "", "gelu_pytorch_tanh": "", "gelu_fast": "", "gelu": "gelu_erf"}


def read_config(raw: Mapping[str, Any]) -> DecoderConfig:
    require_value(raw, "activation_function", tuple(ACTIVATIONS))
    for field in ("scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "add_cross_attention"):
        require_value(raw, field, (False,))
    require_value(raw, "scale_attn_weights", (True,))
    return DecoderConfig(
        dialect="gpt3",
        vocab_size=read_size(raw, "vocab_size"),
        d_model=read_size(raw, "n_embd"),
        n_layer=read_size(raw, "n_layer"),
        n_head=read_size(raw, "n_head"),
        d_ff=read_size(raw, "n_inner") if raw.get("n_inner") else 4 * read_size(raw, "n_embd"),
        max_length=read_size(raw, "n_positions"),
        norm_eps=float(raw["layer_norm_epsilon"]),
        tie_embeddings=bool(raw.get("tie_word_embeddings", True)),
        activation=ACTIVATIONS[raw.get("activation_function", "gelu_new")],  # type: ignore[arg-type]
    )


def write_config(c: DecoderConfig) -> dict[str, Any]:
    return {
        "vocab_size": c.vocab_size,
        "n_embd": c.d_model,
        "n_layer": c.n_layer,
        "n_head": c.n_head,
        "n_inner": c.d_ff,
        "n_positions": c.max_length,
        "layer_norm_epsilon": c.norm_eps,
        "activation_function": "gelu" if c.activation == "gelu_erf" else "gelu_new",
        "tie_word_embeddings": c.tie_embeddings,
    }


GPT2 = Family(
    architecture="GPT2LMHeadModel",
    scalar_architecture="GPT2ForSequenceClassification",
    model_type="gpt2",
    flags={"dialect": "gpt3"},
    varies=frozenset(("activation",)),
    read_config=read_config,
    write_config=write_config,
    layers="transformer.h.",
    tensors={
        "qkv": ("attn.c_attn",),
        "out": ("attn.c_proj",),
        "up": ("mlp.c_fc",),
        "down": ("mlp.c_proj",),
        "norm_attn": ("ln_1",),
        "norm_mlp": ("ln_2",),
    },
    top={
        "embed.weight": "transformer.wte.weight",
        "positions.weight": "transformer.wpe.weight",
        "norm.weight": "transformer.ln_f.weight",
        "norm.bias": "transformer.ln_f.bias",
    },
    transposed=True,
    gguf="gpt2",
    gguf_parts={"qkv": ("attn_qkv",), "up": ("ffn_up",)},
)
