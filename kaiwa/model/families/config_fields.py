"""Fields of config.json, read with bounds: a hostile or damaged file gets a UserError that names the field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig, RopeScaling

LARGEST = dict.fromkeys(("max_position_embeddings", "n_positions"), 1 << 31) | {
    "vocab_size": 1 << 24,
    **dict.fromkeys(("num_hidden_layers", "n_layer"), 1 << 10),
    **dict.fromkeys(("num_attention_heads", "num_key_value_heads", "n_head", "head_dim"), 1 << 14),
}


def read_size(raw: Mapping[str, Any], field: str) -> int:
    """Read a whole number from 1 to a bound that no model exceeds. KeyError if missing, UserError otherwise."""
    value, largest = raw[field], LARGEST.get(field, 1 << 20)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= largest:
        raise UserError(f"field {field!r} is {str(value)[:40]!r}; a whole number from 1 to {largest:,} is expected")
    return value


def require_value(raw: Mapping[str, Any], field: str, allowed: tuple[Any, ...]) -> None:
    """Raise UserError unless the field has one of the values that our decoder computes (missing: the first)."""
    value = raw.get(field, allowed[0])
    if value not in allowed:
        raise UserError(f"{field} is {value!r}, which is not computed; only {', '.join(map(repr, allowed))}")


def read_layers(raw: Mapping[str, Any], window: int, default: str = "") -> tuple[str, int]:
    """Return DecoderConfig's `layers` and `window` of a file that names each layer's kind in `layer_types`.

    window: tokens of the sliding window, 0 for none. default: the family's letters where the file names no kinds.
    """
    n = read_size(raw, "num_hidden_layers")
    kinds = raw.get("layer_types")
    if kinds is None:
        letters = (default or ("w" if window else "g")) * n
    else:
        known = {"full_attention": "g", "sliding_attention": "w"}
        wrong = [kind for kind in kinds if kind not in known] if isinstance(kinds, list) else [kinds]
        if wrong or len(kinds) < n:
            what = f"{wrong[0]!r}, which is not computed" if wrong else f"{len(kinds)} long for {n} layers"
            raise UserError(f"layer_types has {what}; full_attention and sliding_attention are known")
        letters = "".join(known[kind] for kind in kinds)
    letters = letters[:n] if window else letters[:n].replace("w", "g")
    return shortest_pattern(letters), window if "w" in letters else 0


def shortest_pattern(letters: str) -> str:
    """Return the shortest string that gives `letters` when it is repeated and cut."""
    n = len(letters)
    return next(letters[:size] for size in range(1, n + 1) if (letters[:size] * n)[:n] == letters)


def layer_types(c: DecoderConfig) -> list[str]:
    """Return `layer_types` of config.json: the kind of every layer."""
    names = {"g": "full_attention", "w": "sliding_attention", "n": "full_attention"}
    return [names[c.layer_kind(layer)] for layer in range(c.n_layer)]


def read_partial(raw: Mapping[str, Any], d_head: int) -> int:
    """Return the rotated dimensions of a head by `partial_rotary_factor`; 0 where all are."""
    rope = raw.get("rope_parameters")
    share = (rope if isinstance(rope, Mapping) else {}).get("partial_rotary_factor", raw.get("partial_rotary_factor"))
    return 0 if share is None or float(share) == 1 else int(d_head * float(share))


def read_rope(raw: Mapping[str, Any], length: int) -> RopeScaling:
    """Read `rope_scaling`. length: the model's context, which yarn multiplies unless the file names another."""
    if not isinstance(raw, Mapping):
        raise UserError(f"rope scaling is {str(raw)[:40]!r}; an object is expected")
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
        return _read_yarn(raw, length)
    if kind in ("longrope", "su"):
        return _read_longrope(raw, length)
    raise UserError(f"rope scaling {kind!r} is not computed; there is default, linear, llama3, yarn, longrope")


def _read_longrope(raw: Mapping[str, Any], length: int) -> RopeScaling:
    """Read the divisors of texts up to the original length, to which the context is cut (see families/phi3.py)."""
    original = int(raw.get("original_max_position_embeddings") or length)
    if original < 2:
        raise UserError(f"original_max_position_embeddings is {original}; at least 2 is expected")
    divisors = raw["short_factor"]
    if not isinstance(divisors, list) or not all(isinstance(d, int | float) for d in divisors):
        raise UserError(f"short_factor is {str(divisors)[:40]!r}; a list of numbers is expected")
    attention = raw.get("attention_factor")
    if attention is None:
        attention = longrope_scale(float(raw.get("factor") or length / original), original)
    return RopeScaling(
        kind="longrope",
        divisors=tuple(float(d) for d in divisors),
        original_length=original,
        attention=float(attention),
    )


def longrope_scale(factor: float, original: int) -> float:
    """Return the factor on cosines and sines of a context that is `factor` times the original (Ding et al., 2024)."""
    return math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0


def _read_yarn(raw: Mapping[str, Any], length: int) -> RopeScaling:
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
    """Return the factor on cosines and sines that keeps attention as sharp over a longer text (Peng et al., 2023)."""
    return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0


def write_rope(rope: RopeScaling) -> dict[str, Any]:
    """Return `rope_scaling` for a scaling other than "none"."""
    if rope.kind == "linear":
        return {"rope_type": "linear", "type": "linear", "factor": rope.factor}
    if rope.kind == "longrope":
        return {
            "rope_type": "longrope",
            "type": "longrope",
            "short_factor": list(rope.divisors),
            "long_factor": list(rope.divisors),
            "attention_factor": rope.attention,
            "original_max_position_embeddings": rope.original_length,
        }
    if rope.kind == "yarn":
        return {
            "rope_type": "yarn",
            "type": "yarn",
            "factor": rope.factor,
            "beta_fast": rope.high_factor,
            "beta_slow": rope.low_factor,
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
