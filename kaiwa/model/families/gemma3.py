"""Gemma 3 (text): scaled embeddings, a gated GELU, a norm after each part too, local and global rotary positions.

Five of six layers look back over a sliding window, to which the context is cut: within it both kinds see the same. The
files keep a norm's weight less 1. Query scales other than the head's own size (27B) and soft caps are refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig
from kaiwa.model.families import llama
from kaiwa.model.families.config_fields import read_rope, read_size, require_value, write_rope

EVERY, LOCAL_THETA, THETA = 6, 10000.0, 1_000_000.0
FLAGS = {
    "dialect": "llama",
    "qk_norm": True,
    "gate": "gelu",
    "post_norms": True,
    "scaled_embedding": True,
    "local_theta": LOCAL_THETA,
    "local_every": EVERY,
}


def read_config(raw: Mapping[str, Any]) -> DecoderConfig:
    """Read config.json of transformers 4 (rope_theta, rope_local_base_freq) or 5 (rope_parameters by kind of layer)."""
    size = read_size(raw, "head_dim")
    require_value(raw, "hidden_activation", ("gelu_pytorch_tanh",))
    require_value(raw, "query_pre_attn_scalar", (size,))
    require_value(raw, "sliding_window_pattern", (EVERY,))
    for field in ("attn_logit_softcapping", "final_logit_softcapping"):
        require_value(raw, field, (None,))
    require_value(raw, "use_bidirectional_attention", (False, None))
    n_layer = read_size(raw, "num_hidden_layers")
    kinds = ["full_attention" if (i + 1) % EVERY == 0 else "sliding_attention" for i in range(n_layer)]
    if raw.get("layer_types", kinds) != kinds:
        raise UserError(f"layer_types is not one full_attention in {EVERY} layers, which alone is computed")
    ropes = raw.get("rope_parameters")
    ropes = ropes if isinstance(ropes, Mapping) else {}
    whole, local = ropes.get("full_attention") or {}, ropes.get("sliding_attention") or {}
    require_value(
        {"theta": local.get("rope_theta", raw.get("rope_local_base_freq", LOCAL_THETA))}, "theta", (LOCAL_THETA,)
    )
    require_value(local, "rope_type", ("default",))
    length = read_size(raw, "max_position_embeddings")
    window = int(raw.get("sliding_window") or length)
    plain = {name: value for name, value in raw.items() if name not in ("rope_parameters", "rope_scaling")}
    config = llama.read_config(plain | {"tie_word_embeddings": raw.get("tie_word_embeddings", True)}, window=window)
    return replace(
        config,
        rope_theta=float(whole.get("rope_theta", raw.get("rope_theta", THETA))),
        rope=read_rope(whole or raw.get("rope_scaling") or {}, length),
    )


def write_config(c: DecoderConfig) -> dict[str, Any]:
    fields = {name: value for name, value in llama.write_shape(c).items() if name not in ("hidden_act", "rope_scaling")}
    return fields | {
        "head_dim": c.d_head,
        "query_pre_attn_scalar": c.d_head,
        "hidden_activation": "gelu_pytorch_tanh",
        "rope_local_base_freq": LOCAL_THETA,
        "rope_scaling": write_rope(c.rope) if c.rope.kind != "none" else None,
        "sliding_window": c.max_length,
        "attention_bias": c.qkv_bias,
    }


GEMMA3 = replace(
    llama.LLAMA,
    architecture="Gemma3ForCausalLM",
    scalar_architecture="",
    model_type="gemma3_text",
    flags=FLAGS,
    read_config=read_config,
    write_config=write_config,
    tensors={
        **llama.TENSORS,
        "norm_out": ("post_attention_layernorm",),
        "norm_mlp": ("pre_feedforward_layernorm",),
        "norm_down": ("post_feedforward_layernorm",),
    },
    norm_offset=1.0,
    gguf="gemma3",
    gguf_parts={"norm_out": ("post_attention_norm",), "norm_down": ("post_ffw_norm",)},
    gguf_pairs=False,
)
