"""Qwen3 with experts: Qwen3 with a router and many small experts instead of one feed-forward part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kaiwa.model.config import DecoderConfig, ExpertsConfig
from kaiwa.model.families import llama, qwen3
from kaiwa.model.families.config_fields import read_size, require_value
from kaiwa.model.families.family import GgufFields
from kaiwa.model.families.mixtral import GGUF_EXPERTS


def read_config(raw: Mapping[str, Any]) -> DecoderConfig:
    """Read config.json. Models in which only some layers have experts are refused by name."""
    require_value(raw, "decoder_sparse_step", (1,))
    require_value(raw, "mlp_only_layers", ([], None))
    n = read_size(raw, "num_local_experts" if "num_local_experts" in raw else "num_experts")
    experts = ExpertsConfig(
        n_experts=n,
        n_active=read_size(raw, "num_experts_per_tok"),
        normalised=bool(raw.get("norm_topk_prob", False)),
    )
    return replace(qwen3.read_config(raw), d_ff=read_size(raw, "moe_intermediate_size"), experts=experts)


def write_config(c: DecoderConfig) -> dict[str, Any]:
    return qwen3.write_config(c) | {
        "moe_intermediate_size": c.d_ff,
        "num_experts": c.experts.n_experts,
        "num_experts_per_tok": c.experts.n_active,
        "norm_topk_prob": c.experts.normalised,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    }


def read_gguf(fields: GgufFields, c: DecoderConfig) -> DecoderConfig:
    n, active = int(fields("expert_count", 0)), int(fields("expert_used_count", 0))
    size = int(fields("expert_feed_forward_length", c.d_ff))
    return replace(c, d_ff=size, experts=ExpertsConfig(n_experts=n, n_active=active))


def write_gguf(c: DecoderConfig) -> dict[str, Any]:
    return {
        "expert_count": c.experts.n_experts,
        "expert_used_count": c.experts.n_active,
        "expert_feed_forward_length": c.d_ff,
    }


QWEN3_MOE = replace(
    qwen3.QWEN3,
    architecture="Qwen3MoeForCausalLM",
    scalar_architecture="",
    model_type="qwen3_moe",
    varies=qwen3.QWEN3.varies | {"experts"},
    read_config=read_config,
    write_config=write_config,
    tensors={
        **{part: names for part, names in llama.TENSORS.items() if part not in ("up", "down")},
        "mixture.router": ("mlp.gate",),
        "mixture.experts.up": ("mlp.experts.{}.gate_proj", "mlp.experts.{}.up_proj"),
        "mixture.experts.down": ("mlp.experts.{}.down_proj",),
    },
    gguf="qwen3moe",
    gguf_parts=GGUF_EXPERTS,
    read_gguf=read_gguf,
    write_gguf=write_gguf,
)
