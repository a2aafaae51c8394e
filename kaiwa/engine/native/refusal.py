"""The test of whether the C++ step can compute a model, with the reason for a refusal in a sentence for people.

Refusal is the default. A field of DecoderConfig outside the known ones must have its default value, so a family with
new arithmetic (experts) is computed by torch until the C++ step supports the family.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from kaiwa.engine.native import library
from kaiwa.engine.native.weight_layout import LANES
from kaiwa.model.config import DecoderConfig

# What torch_step.TorchStep computes. Rotary tables of every scaling are made by model/rotary.py.
TORCH_STEP_FIELDS = frozenset(
    (
        *("dialect", "vocab_size", "d_model", "n_layer", "n_head", "n_kv_head", "d_ff", "max_length", "head_size"),
        *("rope_theta", "rope", "norm_eps", "tie_embeddings", "qkv_bias", "out_bias"),
    )
)
# What the C++ step computes.
NATIVE_FIELDS = TORCH_STEP_FIELDS | {
    *("qk_norm", "rotary_size", "norms", "activation", "layers", "window", "local_theta", "scales"),
}


def field_refusal(config: DecoderConfig, what: str, known: Collection[str]) -> str:
    """Return why `what` (the subject of the sentence), which computes the fields `known`, cannot compute a kind of
    model; "" if possible."""
    if config.dialect != "llama":
        return f"{what} has the LLaMA dialect only"
    for field in dataclasses.fields(config):
        if field.name in known:
            continue
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if getattr(config, field.name) != default:
            return f"{what} does not know {field.name} = {getattr(config, field.name)!r}"
    return ""


def torch_step_refusal(config: DecoderConfig) -> str:
    """Return why torch_step.TorchStep cannot compute a kind of model; "" if possible."""
    if config.qk_norm == "all":
        return "TorchStep has no norm of all heads together"
    return field_refusal(config, "TorchStep", TORCH_STEP_FIELDS | {"qk_norm"})


def shape_refusal(config: DecoderConfig, multiple: int = LANES) -> str:
    """Return why the C++ step cannot compute a kind and size of model; "" if possible."""
    if config.experts.n_experts:
        return "the C++ step has no experts"
    if why := field_refusal(config, "the C++ step", NATIVE_FIELDS):
        return why
    if config.activation == "gelu_erf":
        return "the C++ step has GELU by tanh only"
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
