"""Mistral: LLaMA with a sliding window, to which the context is cut. Read only: Mistral is written as LLaMA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kaiwa.model.config import DecoderConfig
from kaiwa.model.families import llama


def read_config(raw: Mapping[str, Any]) -> DecoderConfig:
    return llama.read_config(raw, window=int(raw.get("sliding_window") or 0))


MISTRAL = replace(
    llama.LLAMA,
    architecture="MistralForCausalLM",
    scalar_architecture="",
    model_type="mistral",
    read_config=read_config,
    gguf="",  # llama.cpp's converter writes Mistral as "llama"
)
