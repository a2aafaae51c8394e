"""config.json of a Hugging Face folder and our DecoderConfig, for LLaMA and its relatives and for GPT-2.

Read: LLaMA 1 to 3 (Vicuna, SmolLM), Mistral, Qwen2 and 2.5, Qwen3, GPT-2. What a model needs that our decoder does not
compute (other activations, other rope scalings, biases in the feed-forward part) is a UserError that names it.

Departure: a sliding window is not computed. A model that has one is read with a context of at most the window, within
which looking back by the window and looking back to the beginning are the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig, RopeScaling

LLAMA_LIKE = (
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "LlamaForSequenceClassification",
    "Qwen2ForSequenceClassification",
    "Qwen3ForSequenceClassification",
)
MOST = dict.fromkeys(("max_position_embeddings", "n_positions"), 1 << 31) | {
    "vocab_size": 1 << 24,
    **dict.fromkeys(("num_hidden_layers", "n_layer"), 1 << 10),
    **dict.fromkeys(("num_attention_heads", "num_key_value_heads", "n_head", "head_dim"), 1 << 14),
}
GPT2_LIKE = ("GPT2LMHeadModel", "GPT2ForSequenceClassification")


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a file; a UserError for anything else."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: cannot be read as JSON ({error}); copy the file again") from None
    if not isinstance(value, dict):
        raise UserError(f"{file}: a JSON object is expected, this is a {type(value).__name__}")
    return value


def read_config(folder: Path) -> DecoderConfig:
    """The shape from config.json; a UserError names an architecture we do not have, or a field that is missing."""
    file = folder / "config.json"
    if not file.is_file():
        raise UserError(f"{folder}: no config.json; give a Hugging Face model folder or a .gguf file")
    raw = read_json(file)
    names = raw.get("architectures")
    name = str(names[0]) if isinstance(names, list) and names else "?"
    if name not in LLAMA_LIKE + GPT2_LIKE:
        code = "; its code (auto_map) is never run" if raw.get("auto_map") else ""
        raise UserError(
            f"{folder}: architecture {name!r} is unknown{code}; there is {', '.join(LLAMA_LIKE + GPT2_LIKE)}"
        )
    try:
        return _llama(raw, name, file) if name in LLAMA_LIKE else _gpt2(raw, file)
    except KeyError as missing:
        raise UserError(f"{file}: field {missing} is missing") from None
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, UserError):
            raise UserError(f"{file}: {error}") from None
        raise UserError(f"{file}: a field has the wrong type ({error})") from None


def _llama(raw: Mapping[str, Any], name: str, file: Path) -> DecoderConfig:
    _only(raw, file, "hidden_act", ("silu",))
    _only(raw, file, "mlp_bias", (False,))
    family = name.removesuffix("ForCausalLM").removesuffix("ForSequenceClassification")
    biased = bool(raw.get("attention_bias", False))
    length, window = _whole(raw, "max_position_embeddings"), raw.get("sliding_window")
    if window and (family == "Mistral" or raw.get("use_sliding_window")):
        length = min(length, int(window))
    rope = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    if not isinstance(rope, Mapping):
        raise UserError(f"rope scaling is {str(rope)[:40]!r}; an object is expected")
    return DecoderConfig(
        dialect="llama",
        vocab_size=_whole(raw, "vocab_size"),
        d_model=_whole(raw, "hidden_size"),
        n_layer=_whole(raw, "num_hidden_layers"),
        n_head=_whole(raw, "num_attention_heads"),
        n_kv_head=_size(raw["num_key_value_heads"], "num_key_value_heads") if raw.get("num_key_value_heads") else 0,
        d_ff=_whole(raw, "intermediate_size"),
        max_length=length,
        rope_theta=float(rope.get("rope_theta", raw.get("rope_theta", 10000.0))),
        norm_eps=float(raw["rms_norm_eps"]),
        tie_embeddings=bool(raw.get("tie_word_embeddings", False)),
        head_size=_head_size(raw, family),
        qkv_bias=biased or family == "Qwen2",
        out_bias=biased and family != "Qwen2",
        qk_norm=family == "Qwen3",
        rope=_rope(rope, file, _whole(raw, "max_position_embeddings")),
    )


def _head_size(raw: Mapping[str, Any], family: str) -> int:
    """0 where heads add up to d_model. Qwen3's default is 128, whatever d_model is."""
    size = _size(raw["head_dim"], "head_dim") if raw.get("head_dim") else 128 if family == "Qwen3" else 0
    return 0 if size * _whole(raw, "num_attention_heads") == _whole(raw, "hidden_size") else size


def _rope(raw: Mapping[str, Any], file: Path, length: int) -> RopeScaling:
    kind = raw.get("rope_type", raw.get("type", "default"))
    if kind == "default":
        return RopeScaling()
    if kind == "linear":
        return RopeScaling(kind="linear", factor=float(raw["factor"]))
    if kind == "llama3":
        return RopeScaling(
            kind="llama3",
            factor=float(raw["factor"]),
            low_factor=float(raw["low_freq_factor"]),
            high_factor=float(raw["high_freq_factor"]),
            original_length=int(raw["original_max_position_embeddings"]),
        )
    if kind == "yarn":
        return _yarn(raw, length)
    raise UserError(f"{file}: rope scaling {kind!r} is not computed; there is default, linear, llama3, yarn")


def _yarn(raw: Mapping[str, Any], length: int) -> RopeScaling:
    """`length`: the model's context, which the factor multiplies unless the file names an original length."""
    factor = float(raw["factor"])
    attention = raw.get("attention_factor")
    if attention is None:
        m, m_all = raw.get("mscale"), raw.get("mscale_all_dim")
        attention = yarn_scale(factor, m) / yarn_scale(factor, m_all) if m and m_all else yarn_scale(factor, 1.0)
    return RopeScaling(
        kind="yarn",
        factor=factor,
        low_factor=float(raw.get("beta_slow") or 1),
        high_factor=float(raw.get("beta_fast") or 32),
        original_length=int(raw.get("original_max_position_embeddings") or length),
        attention=float(attention),
        whole=bool(raw.get("truncate", True)),
    )


def yarn_scale(factor: float, weight: float) -> float:
    """How much larger cosines and sines become, so that attention stays as sharp over a longer text."""
    return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0


def _gpt2(raw: Mapping[str, Any], file: Path) -> DecoderConfig:
    _only(raw, file, "activation_function", ("gelu_new", "gelu_pytorch_tanh"))
    for field in ("scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "add_cross_attention"):
        _only(raw, file, field, (False,))
    return DecoderConfig(
        dialect="gpt3",
        vocab_size=_whole(raw, "vocab_size"),
        d_model=_whole(raw, "n_embd"),
        n_layer=_whole(raw, "n_layer"),
        n_head=_whole(raw, "n_head"),
        d_ff=_size(raw["n_inner"], "n_inner") if raw.get("n_inner") else 4 * _whole(raw, "n_embd"),
        max_length=_whole(raw, "n_positions"),
        norm_eps=float(raw["layer_norm_epsilon"]),
        tie_embeddings=bool(raw.get("tie_word_embeddings", True)),
    )


def _whole(raw: Mapping[str, Any], field: str) -> int:
    return _size(raw[field], field)


def _size(value: Any, field: str) -> int:
    """A whole number within bounds that no model exceeds: a hostile file may not ask for a billion layers."""
    most = MOST.get(field, 1 << 20)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise UserError(f"field {field!r} is {str(value)[:40]!r}; a whole number from 1 to {most:,} is expected")
    return value


def _only(raw: Mapping[str, Any], file: Path, field: str, allowed: tuple[Any, ...]) -> None:
    value = raw.get(field, allowed[0])
    if value not in allowed:
        raise UserError(f"{file}: {field} is {value!r}, which is not computed; only {', '.join(map(repr, allowed))}")


def hf_config(config: DecoderConfig, scalar: bool) -> dict[str, Any]:
    """What save_model writes. The family is the plainest that has what the model needs."""
    c, kind = config, "ForSequenceClassification" if scalar else None
    labels = {"num_labels": 1, "id2label": {"0": "reward"}, "label2id": {"reward": 0}} if scalar else {}
    if c.dialect == "llama":
        family = "Qwen3" if c.qk_norm else "Qwen2" if c.qkv_bias and not c.out_bias else "Llama"
        more: dict[str, Any] = {"head_dim": c.d_head} if c.head_size or c.qk_norm else {}
        if family == "Qwen3" and c.qkv_bias != c.out_bias:
            raise UserError("a model with norms and biases on query and key only has no Hugging Face layout")
        if family == "Llama":
            more |= {"mlp_bias": False}
        if family != "Qwen2":
            more |= {"attention_bias": c.qkv_bias}
        if c.rope.kind != "none":
            more |= {"rope_scaling": hf_rope(c.rope)}
        return labels | {
            "architectures": [family + (kind or "ForCausalLM")],
            "model_type": family.lower(),
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
            **more,
        }
    return labels | {
        "architectures": ["GPT2" + (kind or "LMHeadModel")],
        "model_type": "gpt2",
        "vocab_size": c.vocab_size,
        "n_embd": c.d_model,
        "n_layer": c.n_layer,
        "n_head": c.n_head,
        "n_inner": c.d_ff,
        "n_positions": c.max_length,
        "layer_norm_epsilon": c.norm_eps,
        "activation_function": "gelu_new",
        "tie_word_embeddings": c.tie_embeddings,
    }


def hf_rope(rope: RopeScaling) -> dict[str, Any]:
    if rope.kind == "linear":
        return {"rope_type": "linear", "type": "linear", "factor": rope.factor}
    if rope.kind == "yarn":
        return {
            "rope_type": "yarn",
            "type": "yarn",
            "factor": rope.factor,
            "beta_slow": rope.low_factor,
            "beta_fast": rope.high_factor,
            "original_max_position_embeddings": rope.original_length,
            "attention_factor": rope.attention,
            "truncate": rope.whole,
        }
    return {
        "rope_type": "llama3",
        "factor": rope.factor,
        "low_freq_factor": rope.low_factor,
        "high_freq_factor": rope.high_factor,
        "original_max_position_embeddings": rope.original_length,
    }
