"""The test of whether the C++ step can compute a model, with the reason for a refusal in a sentence for people.

Refusal is the default. A field of DecoderConfig outside KNOWN_FIELDS must have its default value, so a family with
new arithmetic (another activation, a scaled embedding) is computed by torch until the C++ step supports the family.
"""

from __future__ import annotations

import dataclasses

from kaiwa.engine.native import library
from kaiwa.engine.native.weight_layout import LANES
from kaiwa.model.config import DecoderConfig

# What the C++ step and torch_step.TorchStep compute, both of which spell out the LLaMA dialect. Rotary tables of every
# scaling are made by model/decoder.py.
KNOWN_FIELDS = frozenset(
    [
        "dialect",
        "vocab_size",
        "d_model",
        "n_layer",
        "n_head",
        "n_kv_head",
        "d_ff",
        "max_length",
        "rope_theta",
        "norm_eps",
        "tie_embeddings",
        "head_size",
        "qkv_bias",
        "out_bias",
        "qk_norm",
        "rope",
    ]
)


def field_refusal(config: DecoderConfig, what: str) -> str:
    """Return why `what` (the subject of the sentence) cannot compute a kind of model; "" if possible."""
    if config.dialect != "llama":
        return f"{what} has the LLaMA dialect only"
    for field in dataclasses.fields(config):
        if field.name in KNOWN_FIELDS:
            continue
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if getattr(config, field.name) != default:
            return f"{what} does not know {field.name} = {getattr(config, field.name)!r}"
    return ""


def shape_refusal(config: DecoderConfig, multiple: int = LANES) -> str:
    """Return why the C++ step cannot compute a kind and size of model; "" if possible."""
    if why := field_refusal(config, "the C++ step"):
        return why
    if any(size % multiple for size in (config.d_model, config.d_head, config.d_ff)):
        return f"the C++ step needs sizes that {multiple} divides"
    return ""


def native_refusal(config: DecoderConfig, device: str = "cpu", multiple: int = LANES) -> str:
    """Return why the C++ step cannot compute a model on the local machine and a device; "" if possible."""
    if why := library.machine_refusal():
        return why
    if device != "cpu":
        return "the C++ step computes on the CPU, in fp32 or bf16"
    return shape_refusal(config, multiple)
