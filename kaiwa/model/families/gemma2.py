"""Gemma 2: scaled embeddings, a gated GELU, norms around each part, every other layer with a sliding window, and soft
caps on scores and logits. The files keep a norm's weight less 1."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig, Scales
from kaiwa.model.families import llama
from kaiwa.model.families.config_fields import layer_types, read_size, require_value, write_rope
from kaiwa.model.families.family import GgufFields

LAYERS = "wg"
FLAGS = {"dialect": "llama", "activation": "gelu", "norms": "around", "qk_norm": ""}
LAYERS_27B = 46  # the size whose query scale is not its head's, which GGUF has no field for


def read_config(raw: Mapping[str, Any], layers: str = LAYERS) -> DecoderConfig:
    """Read config.json. layers: the family's letters, where the file does not name each layer's kind."""
    require_value(raw, "hidden_activation", ("gelu_pytorch_tanh",))
    require_value(raw, "use_bidirectional_attention", (None, False))
    plain = {name: value for name, value in raw.items() if name != "hidden_act"}
    plain["tie_word_embeddings"] = raw.get("tie_word_embeddings", True)
    config = llama.read_config(
        plain, window=int(raw.get("sliding_window") or 0), layers=layers, head_size=read_size(raw, "head_dim")
    )
    return replace(config, scales=read_scales(raw, config))


def read_scales(raw: Mapping[str, Any], config: DecoderConfig) -> Scales:
    """Read the query's scale and the soft caps."""
    return Scales(
        embedding_scale=math.sqrt(config.d_model),
        attention_scale=attention_scale(float(raw.get("query_pre_attn_scalar") or config.d_head), config.d_head),
        attention_cap=float(raw.get("attn_logit_softcapping") or 0),
        logit_cap=float(raw.get("final_logit_softcapping") or 0),
    )


def attention_scale(scalar: float, d_head: int) -> float:
    """Return Scales' `attention` for scores divided by √scalar."""
    if not 0 < scalar < math.inf:
        raise UserError(f"query_pre_attn_scalar is {scalar}; it must be above 0")
    return 0.0 if scalar == d_head else scalar**-0.5


def write_config(c: DecoderConfig) -> dict[str, Any]:
    fields = {name: value for name, value in llama.write_shape(c).items() if name not in ("hidden_act", "rope_scaling")}
    scale = c.scales.attention_scale
    return fields | {
        "head_dim": c.d_head,
        "query_pre_attn_scalar": round(scale**-2) if scale else c.d_head,
        "hidden_activation": "gelu_pytorch_tanh",
        "rope_scaling": write_rope(c.rope) if c.rope.kind != "none" else None,
        "sliding_window": c.window or c.max_length,
        "layer_types": layer_types(c),
        "attention_bias": c.qkv_bias,
        "attn_logit_softcapping": c.scales.attention_cap or None,
        "final_logit_softcapping": c.scales.logit_cap or None,
    }


def read_gguf(fields: GgufFields, c: DecoderConfig) -> DecoderConfig:
    window = int(fields("attention.sliding_window", 4096))
    scale = gguf_attention_scale(c, LAYERS_27B)
    caps = (float(fields("attn_logit_softcapping", 50.0)), float(fields("final_logit_softcapping", 30.0)))
    scales = Scales(
        embedding_scale=math.sqrt(c.d_model), attention_scale=scale, attention_cap=caps[0], logit_cap=caps[1]
    )
    return replace(c, layers=LAYERS, window=window, scales=scales)


def gguf_attention_scale(c: DecoderConfig, layers_27b: int) -> float:
    """Return Scales' `attention` as llama.cpp knows it: by the number of layers."""
    return attention_scale(c.d_model / c.n_head, c.d_head) if c.n_layer == layers_27b else 0.0


def write_gguf(c: DecoderConfig) -> dict[str, Any]:
    """Return GGUF's fields. UserError for kinds of layers or a query scale that GGUF has no field for."""
    require_gguf(c, LAYERS, LAYERS_27B)
    return {
        "attention.sliding_window": c.window,
        "attn_logit_softcapping": c.scales.attention_cap,
        "final_logit_softcapping": c.scales.logit_cap,
    }


def require_gguf(c: DecoderConfig, layers: str, layers_27b: int) -> None:
    """Raise UserError for a model that llama.cpp's fixed layers and scales do not describe."""
    expected = (layers * c.n_layer)[: c.n_layer]
    if [c.layer_kind(layer) for layer in range(c.n_layer)] != list(expected):
        raise UserError(f"GGUF has no field for the kinds of layers {c.layers[:40]!r} of this model")
    if abs(c.scales.attention_scale - gguf_attention_scale(c, layers_27b)) > 1e-9:
        raise UserError(f"GGUF has no field for this model's scale {c.scales.attention_scale:g} of attention")


GEMMA2 = replace(
    llama.LLAMA,
    architecture="Gemma2ForCausalLM",
    scalar_architecture="",
    model_type="gemma2",
    flags=FLAGS,
    varies=frozenset(("layers", "window", "scales", "qkv_bias", "out_bias")),
    read_config=read_config,
    write_config=write_config,
    tensors={
        **llama.TENSORS,
        "norm_out": ("post_attention_layernorm",),
        "norm_mlp": ("pre_feedforward_layernorm",),
        "norm_down": ("post_feedforward_layernorm",),
    },
    norm_offset=1.0,
    gguf="gemma2",
    gguf_parts={"norm_out": ("post_attention_norm",), "norm_down": ("post_ffw_norm",)},
    gguf_pairs=False,
    read_gguf=read_gguf,
    write_gguf=write_gguf,
)
