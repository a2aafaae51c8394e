"""All families that kaiwa reads, and their look-up. No torch: the catalog reads this too."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig
from kaiwa.model.families.family import Family
from kaiwa.model.families.gemma2 import GEMMA2
from kaiwa.model.families.gemma3 import GEMMA3
from kaiwa.model.families.gpt2 import GPT2
from kaiwa.model.families.gpt_neox import GPT_NEOX
from kaiwa.model.families.granite import GRANITE
from kaiwa.model.families.llama import LLAMA
from kaiwa.model.families.mistral import MISTRAL
from kaiwa.model.families.mixtral import MIXTRAL
from kaiwa.model.families.olmo2 import OLMO2
from kaiwa.model.families.phi3 import PHI3
from kaiwa.model.families.qwen2 import QWEN2
from kaiwa.model.families.qwen3 import QWEN3
from kaiwa.model.families.qwen3_moe import QWEN3_MOE
from kaiwa.model.families.smollm3 import SMOLLM3

# A model is written as the first of these that has its flags: the more particular families come first.
FAMILIES = (
    *(GPT2, GPT_NEOX, GEMMA3, GEMMA2, QWEN3_MOE, QWEN3, QWEN2, OLMO2),
    *(LLAMA, SMOLLM3, MISTRAL, MIXTRAL, PHI3, GRANITE),
)
GENERATES = tuple(family.architecture for family in FAMILIES)
ARCHITECTURES = {name: family for family in FAMILIES for name in (family.architecture, family.scalar_architecture)}
ARCHITECTURES.pop("", None)
GGUF = {family.gguf: family for family in reversed(FAMILIES) if family.gguf}


@functools.cache
def family_of(config: DecoderConfig) -> Family:
    """Return the plainest family that has the features of the model. UserError where no family has them all."""
    family = next((family for family in FAMILIES if family.has(config)), None)
    if family is None:
        raise UserError(
            "no family of models has all features of this one; it cannot be written as a folder or GGUF file"
        )
    return family


def gguf_family(fields: Mapping[str, Any]) -> Family | None:
    """Return the family of a GGUF file's fields; None for an architecture that is not known."""
    family = GGUF.get(str(fields.get("general.architecture")))
    if family is LLAMA and int(fields.get("llama.expert_count") or 0):
        return MIXTRAL  # llama.cpp's converter writes Mixtral as "llama" with experts
    return family
