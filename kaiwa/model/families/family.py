"""A model family as a record, which the readers and writers of model files and the catalog look up.

To add a family: a file beside this one, a line in by_name.py, a line in docs/models.md and a line in
tests/model/test_families.py. The family's own arithmetic is a field of DecoderConfig (model/config.py) that
model/decoder.py reads; the engine's fast steps refuse unknown fields (engine/native/refusal.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kaiwa.model.config import DecoderConfig

Names = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family of decoders.

    architecture: transformers' class that generates text. scalar_architecture: its class with a reward head, or "".
    flags: fields of DecoderConfig that every model of the family has; a model is written as the first family of
    by_name.FAMILIES whose flags the model has. read_config reads config.json, write_config makes config.json without
    class names.

    tensors: our part of a block -> Hugging Face's names in a layer; several names are a product that we fuse. top: our
    tensors outside the blocks -> Hugging Face's. transposed: products are kept as [in, out]. norm_offset: what a
    norm's weight in a folder lacks of ours. gguf: the architecture's
    name there; gguf_parts: where a block's names differ from gguf.PARTS. gguf_pairs: llama.cpp reorders the rows of
    query and key, so that rotary positions turn neighbouring pairs.
    """

    architecture: str
    scalar_architecture: str = ""
    model_type: str
    flags: Mapping[str, Any]
    read_config: Callable[[Mapping[str, Any]], DecoderConfig]
    write_config: Callable[[DecoderConfig], dict[str, Any]]
    layers: str
    tensors: Names
    top: Mapping[str, str]
    transposed: bool = False
    norm_offset: float = 0.0
    gguf: str = ""
    gguf_parts: Names = field(default_factory=dict)
    gguf_pairs: bool = False

    def has(self, config: DecoderConfig) -> bool:
        """Return whether a model of this shape can be written as a model of this family."""
        return all(getattr(config, name) == value for name, value in self.flags.items())
