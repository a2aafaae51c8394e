"""A model family as a record, which the readers and writers of model files and the catalog look up.

To add a family: a file beside this one, a line in by_name.py, a line in docs/models.md and a line in
tests/model/test_families.py. The family's own arithmetic is a field of DecoderConfig (model/config.py) that
model/decoder.py reads; the engine's fast steps refuse unknown fields (engine/native/refusal.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from kaiwa.model.config import DecoderConfig

Names = Mapping[str, tuple[str, ...]]
PLAIN = DecoderConfig()
SHAPE = frozenset(
    (
        *("dialect", "vocab_size", "d_model", "n_layer", "n_head", "n_kv_head", "d_ff", "head_size"),
        *("max_length", "rope_theta", "rope", "norm_eps", "tie_embeddings"),
    )
)


class GgufFields(Protocol):
    """The fields of a GGUF file under the architecture's name."""

    def __call__(self, name: str, default: Any) -> Any:
        """Return the field's value, or the default. name: without the architecture."""
        ...

    def numbers(self, tensor: str) -> tuple[float, ...]:
        """Return the numbers of a small tensor; none where the file has no such tensor."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family of decoders.

    architecture: transformers' class that generates text. scalar_architecture: its class with a reward head, or "".
    flags: fields of DecoderConfig that every model of the family has; a model is written as the first family of
    by_name.FAMILIES whose flags the model has. read_config reads config.json, write_config makes config.json without
    class names.

    tensors: our part of a block -> Hugging Face's names in a layer; several names are a product that we fuse. top: our
    tensors outside the blocks -> Hugging Face's. transposed: products are kept as [in, out]. norm_offset: what a
    norm's weight in a folder lacks of ours. qkv_by_head: the fused product's rows are query, key and value of one head
    after another. A name of an expert's part has {} for the expert's number.

    varies: fields of DecoderConfig that models of the family differ in, beside those of every family (SHAPE); any other
    field has its default. gguf: the architecture's name there; gguf_parts: where a block's names differ from
    gguf.PARTS. gguf_pairs: llama.cpp reorders the rows of query and key, so that rotary positions turn neighbouring
    pairs. read_gguf completes the config by the family's own fields; write_gguf returns those fields.
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
    qkv_by_head: bool = False
    varies: frozenset[str] = frozenset()
    gguf: str = ""
    gguf_parts: Names = field(default_factory=dict)
    gguf_pairs: bool = False
    read_gguf: Callable[[GgufFields, DecoderConfig], DecoderConfig] = lambda fields, config: config
    write_gguf: Callable[[DecoderConfig], dict[str, Any]] = lambda config: {}

    def has(self, config: DecoderConfig) -> bool:
        """Return whether a model of this shape can be written as a model of this family."""
        if bool(config.experts.n_experts) != ("experts" in self.varies):
            return False
        plain = dataclasses.replace(PLAIN, dialect=config.dialect)
        free = SHAPE | self.varies | self.flags.keys()
        same = all(
            getattr(config, f.name) == getattr(plain, f.name) for f in dataclasses.fields(plain) if f.name not in free
        )
        return same and all(getattr(config, name) == value for name, value in self.flags.items())
