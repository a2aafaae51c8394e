"""All families that kaiwa reads, and their look-up. No torch: the catalog reads this too."""

from __future__ import annotations

import functools

from kaiwa.model.config import DecoderConfig
from kaiwa.model.families.family import Family
from kaiwa.model.families.gemma3 import GEMMA3
from kaiwa.model.families.gpt2 import GPT2
from kaiwa.model.families.llama import LLAMA
from kaiwa.model.families.mistral import MISTRAL
from kaiwa.model.families.phi3 import PHI3
from kaiwa.model.families.qwen2 import QWEN2
from kaiwa.model.families.qwen3 import QWEN3

# A model is written as the first of these that has its flags: the more particular families come first.
FAMILIES = (GPT2, GEMMA3, QWEN3, QWEN2, LLAMA, MISTRAL, PHI3)
GENERATES = tuple(family.architecture for family in FAMILIES)
ARCHITECTURES = {name: family for family in FAMILIES for name in (family.architecture, family.scalar_architecture)}
ARCHITECTURES.pop("", None)
GGUF = {family.gguf: family for family in FAMILIES if family.gguf}


@functools.cache
def family_of(config: DecoderConfig) -> Family:
    """Return the plainest family that has the features of the model."""
    return next(family for family in FAMILIES if family.has(config))
