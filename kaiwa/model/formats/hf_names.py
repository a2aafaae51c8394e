"""Names of tensors: ours, with query, key and value in one product and gate and up in another, and Hugging Face's.

GPT-2 keeps its products transposed, and query, key and value fused as ours are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig

# ours: theirs, within a layer; a tuple is a product that we fuse
LLAMA_PARTS: dict[str, tuple[str, ...]] = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "out": ("self_attn.o_proj",),
    "up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
    "norm_attn": ("input_layernorm",),
    "norm_mlp": ("post_attention_layernorm",),
    "norm_q": ("self_attn.q_norm",),
    "norm_k": ("self_attn.k_norm",),
}
GPT2_PARTS: dict[str, tuple[str, ...]] = {
    "qkv": ("attn.c_attn",),
    "out": ("attn.c_proj",),
    "up": ("mlp.c_fc",),
    "down": ("mlp.c_proj",),
    "norm_attn": ("ln_1",),
    "norm_mlp": ("ln_2",),
}
LLAMA_TOP = {"embed.weight": "model.embed_tokens.weight", "norm.weight": "model.norm.weight"}
GPT2_TOP = {
    "embed.weight": "transformer.wte.weight",
    "positions.weight": "transformer.wpe.weight",
    "norm.weight": "transformer.ln_f.weight",
    "norm.bias": "transformer.ln_f.bias",
}
# in old files though nothing reads them: rotary tables, causal masks
NEEDLESS = ("rotary_emb.inv_freq", "attn.bias", "attn.masked_bias")


def names_of(config: DecoderConfig, name: str) -> tuple[str, ...]:
    """Hugging Face's name or names (then to be concatenated) of one of our tensors."""
    top, parts, layers = (
        (LLAMA_TOP, LLAMA_PARTS, "model.layers.")
        if config.dialect == "llama"
        else (GPT2_TOP, GPT2_PARTS, "transformer.h.")
    )
    if name == "unembed.weight":
        return ("lm_head.weight",)
    if name in top:
        return (top[name],)
    _, layer, part, kind = name.split(".")
    return tuple(f"{layers}{layer}.{theirs}.{kind}" for theirs in parts[part])


def sizes_of(config: DecoderConfig, name: str) -> list[int]:
    """Rows of each part of a fused tensor, in `names_of`'s order; [-1] for one that is not fused."""
    c = config
    if c.dialect == "llama" and ".qkv." in name:
        return [c.n_head * c.d_head, c.kv_heads * c.d_head, c.kv_heads * c.d_head]
    return [c.d_ff, c.d_ff] if c.dialect == "llama" and ".up." in name else [-1]


def turned(config: DecoderConfig, name: str, tensor: Tensor) -> bool:
    """Whether Hugging Face keeps this tensor transposed."""
    return config.dialect == "gpt3" and name.startswith("blocks") and tensor.ndim == 2


def to_hf(config: DecoderConfig, state: dict[str, Tensor], scalar: bool) -> dict[str, Tensor]:
    """Our names and fused products as Hugging Face's."""
    out: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name == "unembed.weight" and (config.tie_embeddings or scalar):
            continue
        theirs, sizes = names_of(config, name), sizes_of(config, name)
        parts = [tensor] if len(theirs) == 1 else tensor.split(sizes)
        out |= {n: p.T if turned(config, name, p) else p for n, p in zip(theirs, parts, strict=True)}
    return out


def from_hf(config: DecoderConfig, tensors: dict[str, Tensor], ours: list[str]) -> dict[str, Tensor]:
    """Hugging Face's tensors under our names `ours` (a decoder's state_dict). A UserError names a missing part.

    Files of GPT-2 come with and without "transformer." before their names.
    """
    bare = config.dialect == "gpt3" and "wte.weight" in tensors
    state: dict[str, Tensor] = {}
    used: set[str] = set()
    for name in ours:
        if name == "unembed.weight" and (config.tie_embeddings or "lm_head.weight" not in tensors):
            continue
        parts = []
        for theirs in names_of(config, name):
            theirs = theirs.removeprefix("transformer.") if bare else theirs
            if theirs not in tensors:
                raise UserError(f"tensor {theirs} is missing; the file does not fit its config.json")
            used.add(theirs)
            parts.append(tensors[theirs].T if turned(config, name, tensors[theirs]) else tensors[theirs])
        if len(parts) > 1 and len({p.shape[1:] for p in parts}) > 1:
            raise UserError(f"the parts of {name} have different widths: {[tuple(p.shape) for p in parts]}")
        state[name] = parts[0] if len(parts) == 1 else torch.cat(parts)
    if "unembed.weight" in ours and "unembed.weight" not in state:
        state["unembed.weight"] = state["embed.weight"]
    extra = [n for n in tensors if n not in used and n not in ("lm_head.weight", "score.weight")]
    extra = [n for n in extra if not n.endswith(NEEDLESS)]
    if extra:
        raise UserError(
            f"{len(extra)} tensors have no place in this model, the first is {sorted(extra)[0]}; "
            "the file does not fit its config.json"
        )
    return state
