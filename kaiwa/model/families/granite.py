"""Granite 3 (dense): LLaMA with factors on embeddings, scores, each part's addition and logits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig, Scales
from kaiwa.model.families import llama
from kaiwa.model.families.family import GgufFields


def make_scales(*, embedding: float, attention: float, residual: float, logits: float, d_head: int) -> Scales:
    """Return Scales of Granite's factors; `logits` divides."""
    if not 0 < logits < math.inf or attention <= 0:
        raise UserError(f"logits_scaling {logits} and attention_multiplier {attention} must be above 0")
    plain = abs(attention - d_head**-0.5) < 1e-12
    return Scales(
        embedding_scale=embedding,
        residual_scale=residual,
        logit_scale=1 / logits,
        attention_scale=0.0 if plain else attention,
    )


def read_config(raw: Mapping[str, Any]) -> DecoderConfig:
    config = llama.read_config(raw)
    scales = make_scales(
        embedding=float(raw.get("embedding_multiplier", 1.0)),
        attention=float(raw.get("attention_multiplier", 1.0)),
        residual=float(raw.get("residual_multiplier", 1.0)),
        logits=float(raw.get("logits_scaling", 1.0)),
        d_head=config.d_head,
    )
    return replace(config, scales=scales)


def write_config(c: DecoderConfig) -> dict[str, Any]:
    """Return config.json's fields. UserError for caps, or for biases on query, key and value only."""
    if c.scales.attention_cap or c.scales.logit_cap or c.qkv_bias != c.out_bias:
        raise UserError("a model of Granite's kind with caps or some biases has no Hugging Face layout")
    return llama.write_config(c) | {
        "embedding_multiplier": c.scales.embedding_scale,
        "attention_multiplier": c.scales.attention_scale or c.d_head**-0.5,
        "residual_multiplier": c.scales.residual_scale,
        "logits_scaling": 1 / c.scales.logit_scale,
    }


def read_gguf(fields: GgufFields, c: DecoderConfig) -> DecoderConfig:
    scales = make_scales(
        embedding=float(fields("embedding_scale", 1.0)),
        attention=float(fields("attention.scale", c.d_head**-0.5)),
        residual=float(fields("residual_scale", 1.0)),
        logits=float(fields("logit_scale", 1.0)),
        d_head=c.d_head,
    )
    return replace(c, scales=scales)


def write_gguf(c: DecoderConfig) -> dict[str, Any]:
    return {
        "embedding_scale": c.scales.embedding_scale,
        "attention.scale": c.scales.attention_scale or c.d_head**-0.5,
        "residual_scale": c.scales.residual_scale,
        "logit_scale": 1 / c.scales.logit_scale,
    }


GRANITE = replace(
    llama.LLAMA,
    architecture="GraniteForCausalLM",
    scalar_architecture="",
    model_type="granite",
    varies=llama.LLAMA.varies | {"scales"},
    read_config=read_config,
    write_config=write_config,
    gguf="granite",
    read_gguf=read_gguf,
    write_gguf=write_gguf,
)
