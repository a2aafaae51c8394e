"""Mixtral: Mistral with a router and experts instead of one feed-forward part (Jiang et al., 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kaiwa.model.config import DecoderConfig, ExpertsConfig
from kaiwa.model.families import llama, mistral
from kaiwa.model.families.config_fields import read_size
from kaiwa.model.families.family import GgufFields

GGUF_EXPERTS = {
    "mixture.router": ("ffn_gate_inp",),
    "mixture.experts.up": ("ffn_gate_exps", "ffn_up_exps"),
    "mixture.experts.down": ("ffn_down_exps",),
}


def read_config(raw: Mapping[str, Any]) -> DecoderConfig:
    n, active = read_size(raw, "num_local_experts"), read_size(raw, "num_experts_per_tok")
    return replace(mistral.read_config(raw), experts=ExpertsConfig(n_experts=n, n_active=active))


def write_config(c: DecoderConfig) -> dict[str, Any]:
    fields = llama.write_shape(c) | {
        "num_local_experts": c.experts.n_experts,
        "num_experts_per_tok": c.experts.n_active,
    }
    return fields | ({"sliding_window": c.window} if c.window else {})


def read_gguf(fields: GgufFields, c: DecoderConfig) -> DecoderConfig:
    n, active = int(fields("expert_count", 0)), int(fields("expert_used_count", 0))
    return replace(llama.read_gguf(fields, c), experts=ExpertsConfig(n_experts=n, n_active=active))


def write_gguf(c: DecoderConfig) -> dict[str, Any]:
    return {"expert_count": c.experts.n_experts, "expert_used_count": c.experts.n_active}


MIXTRAL = replace(
    llama.LLAMA,
    architecture="MixtralForCausalLM",
    scalar_architecture="",
    model_type="mixtral",
    varies=frozenset(("layers", "window", "experts")),
    read_config=read_config,
    write_config=write_config,
    tensors={
        **{part: names for part, names in llama.TENSORS.items() if part not in ("up", "down")},
        "mixture.router": ("block_sparse_moe.gate",),
        "mixture.experts.up": ("block_sparse_moe.experts.{}.w1", "block_sparse_moe.experts.{}.w3"),
        "mixture.experts.down": ("block_sparse_moe.experts.{}.w2",),
    },
    gguf_parts=GGUF_EXPERTS,
    read_gguf=read_gguf,
    write_gguf=write_gguf,
)
