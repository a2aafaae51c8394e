"""Mistral: LLaMA whose layers may look back over a sliding window. Without one, Mistral is written as LLaMA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig
from kaiwa.model.families import llama


def read_config(raw: Mapping[str, Any]) -> DecoderConfig:
    return llama.read_config(raw, window=int(raw.get("sliding_window") or 0))


def write_config(c: DecoderConfig) -> dict[str, Any]:
    """Return config.json's fields. UserError for layers of several kinds, which Mistral does not have."""
    if c.layers != "w":
        raise UserError(f"a model with layers {c.layers[:40]!r} has no Hugging Face layout")
    return llama.write_shape(c) | {"sliding_window": c.window}


MISTRAL = replace(
    llama.LLAMA,
    architecture="MistralForCausalLM",
    scalar_architecture="",
    model_type="mistral",
    varies=frozenset(("layers", "window")),
    read_config=read_config,
    write_config=write_config,
    gguf="",  # llama.cpp reads and writes Mistral as "llama", without the window
)
