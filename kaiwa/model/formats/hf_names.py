"""Tensors under our names (query, key and value are one product, gate and up another) and under Hugging Face's."""

from __future__ import annotations

import torch
from torch import Tensor

from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig
from kaiwa.model.families.by_name import family_of
from kaiwa.model.families.family import Family

HEAD = "lm_head.weight"
# in old files though nothing reads them: rotary tables, causal masks
NEEDLESS = ("rotary_emb.inv_freq", "attn.bias", "attn.masked_bias", "attention.bias", "attention.masked_bias")


def names_of(config: DecoderConfig, name: str, family: Family | None = None) -> tuple[str, ...]:
    """Return Hugging Face's name, or the names to concatenate, of one of our tensors.

    family: of a folder that is read; by default the family that a model of this shape is written as.
    """
    family = family or family_of(config)
    if name in family.top:
        return (family.top[name],)
    if name == "unembed.weight":
        return (HEAD,)
    layer, part, kind, expert = split_name(name)
    if part not in family.tensors:
        raise UserError(f"the family {family.model_type} has no tensor for our {name}")
    return tuple(f"{family.layers}{layer}.{theirs.format(expert)}.{kind}" for theirs in family.tensors[part])


def split_name(name: str) -> tuple[str, str, str, str]:
    """Return layer, part, kind and expert ("" if none) of "blocks.3.mixture.experts.5.up.weight"."""
    head, _, kind = name.rpartition(".")
    _, layer, part = head.split(".", 2)
    if not part.startswith("mixture.experts."):
        return layer, part, kind, ""
    mixture, experts, number, inner = part.split(".")
    return layer, f"{mixture}.{experts}.{inner}", kind, number


def sizes_of(config: DecoderConfig, name: str) -> list[int]:
    """Return the rows of each part of a fused tensor, in `names_of`'s order; [-1] for a tensor that is not fused."""
    c = config
    if c.dialect == "llama" and ".qkv." in name:
        return [c.n_head * c.d_head, c.kv_heads * c.d_head, c.kv_heads * c.d_head]
    return [c.d_ff, c.d_ff] if c.dialect == "llama" and ".up." in name else [-1]


def is_transposed(config: DecoderConfig, name: str, tensor: Tensor, family: Family | None = None) -> bool:
    """Return whether Hugging Face keeps this tensor [out,in] as [in,out]. family: as in `names_of`."""
    return (family or family_of(config)).transposed and name.startswith("blocks") and tensor.ndim == 2


def norm_offset(name: str, family: Family) -> float:
    """Return what a tensor of ours has more than the family's files: of a norm's weight, else 0."""
    return family.norm_offset if "norm" in name else 0.0


def to_hf(config: DecoderConfig, state: dict[str, Tensor], scalar: bool) -> dict[str, Tensor]:
    """Return Hugging Face's tensors [...], fused products split, from ours. scalar: without the unembedding."""
    out: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name == "unembed.weight" and (config.tie_embeddings or scalar):
            continue
        tensor = family_rows(name, tensor, config, family_of(config))
        theirs, sizes = names_of(config, name), sizes_of(config, name)
        parts = [tensor] if len(theirs) == 1 else tensor.split(sizes)
        out |= {n: p.T if is_transposed(config, name, p) else p for n, p in zip(theirs, parts, strict=True)}
        if offset := norm_offset(name, family_of(config)):
            out[theirs[0]] = tensor - offset
    return out


def our_rows(name: str, rows: Tensor, config: DecoderConfig, family: Family) -> Tensor:
    """Return a fused product's rows [out,...] in our order, all queries before all keys, from the family's."""
    if not family.qkv_by_head or ".qkv." not in name:
        return rows
    if len(rows) % (3 * config.n_head):
        raise UserError(f"query, key and value have {len(rows)} rows, no whole heads of {config.n_head}")
    return rows.unflatten(0, (config.n_head, 3, -1)).transpose(0, 1).flatten(0, 2)  # type: ignore[no-any-return]


def family_rows(name: str, rows: Tensor, config: DecoderConfig, family: Family) -> Tensor:
    """Return a fused product's rows [out,...] in the family's order, the inverse of `our_rows`."""
    if not family.qkv_by_head or ".qkv." not in name:
        return rows
    return rows.unflatten(0, (3, config.n_head, -1)).transpose(0, 1).flatten(0, 2)  # type: ignore[no-any-return]


def from_hf(
    config: DecoderConfig, tensors: dict[str, Tensor], ours: list[str], family: Family | None = None
) -> dict[str, Tensor]:
    """Return Hugging Face's tensors [...] under our names `ours` (a decoder's state_dict). UserError names a missing
    one.

    Files of GPT-2 come with and without "transformer." before their names.
    """
    bare = config.dialect == "gpt3" and "wte.weight" in tensors
    state: dict[str, Tensor] = {}
    used: set[str] = set()
    for name in ours:
        if name == "unembed.weight" and (config.tie_embeddings or names_of(config, name, family)[0] not in tensors):
            continue
        parts = []
        for theirs in names_of(config, name, family):
            theirs = theirs.removeprefix("transformer.") if bare else theirs
            if theirs not in tensors:
                raise UserError(f"tensor {theirs} is missing; the file does not fit its config.json")
            used.add(theirs)
            parts.append(tensors[theirs].T if is_transposed(config, name, tensors[theirs], family) else tensors[theirs])
        if len(parts) > 1 and len({p.shape[1:] for p in parts}) > 1:
            raise UserError(f"the parts of {name} have different widths: {[tuple(p.shape) for p in parts]}")
        state[name] = parts[0] if len(parts) == 1 else torch.cat(parts)
        state[name] = our_rows(name, state[name], config, family or family_of(config))
        if offset := norm_offset(name, family or family_of(config)):
            state[name] = state[name].float() + offset
    if "unembed.weight" in ours and "unembed.weight" not in state:
        state["unembed.weight"] = state["embed.weight"]
    heads = (HEAD, "score.weight", *names_of(config, "unembed.weight", family))
    extra = [n for n in tensors if n not in used and n not in heads]
    extra = [n for n in extra if not n.endswith(NEEDLESS)]
    if extra:
        raise UserError(
            f"{len(extra)} tensors have no place in this model, the first is {sorted(extra)[0]}; "
            "the file does not fit its config.json"
        )
    return state
