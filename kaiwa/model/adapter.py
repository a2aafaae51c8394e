"""Adapters apart from their model: a low-rank change or a soft prompt, read from a folder in PEFT's layout.

    y = W x + B (A x), A [r,in], B [out,r] with alpha / r included       (Hu et al., 2021, section 4.1)
    n vectors of the model's width before the text                      (Lester et al., 2021, section 2)

Our fused products (query, key and value; gate and up) take one A and one B: parts that were trained with the same A
share one A, other parts' A are stacked, and B is zero where a part does not use an A. The weights that an adapter is
added to are never touched, so a model and any number of its adapters can be used at the same time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig
from kaiwa.model.families.by_name import FAMILIES, family_of
from kaiwa.model.families.family import Family
from kaiwa.model.formats.hf_names import names_of, our_rows, sizes_of
from kaiwa.model.int4 import linears_of

CONFIG, WEIGHTS, PICKLED = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
SOFT = "prompt_embeddings"
HIGHEST_RANK = 1024
FLOATS = (torch.float32, torch.float16, torch.bfloat16)
LARGEST = torch.finfo(torch.float32).max
# Settings that would change more than the blocks' products, or in another way; only these values are read.
PLAIN: Mapping[str, tuple[Any, ...]] = {
    "bias": ("none", None),
    "modules_to_save": ([], None),
    "use_dora": (False, None),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "layer_replication": ([], None),
    "trainable_token_indices": ([], {}, None),
    "init_lora_weights": (
        True,
        False,
        "gaussian",
        "orthogonal",
        "eva",
        None,
    ),  # other kinds, such as PiSSA, change the base
    "lora_bias": (False, None),
    "alora_invocation_tokens": (None,),
    "target_parameters": ([], None),
    "arrow_config": (None,),
    "use_qalora": (False, None),
    "use_bdlora": (False, None),
    "kasa_config": (None,),
    "monteclora_config": (None,),
}


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Adapter:
    """`changes`: for each block, part of int4.LINEARS -> (A [r,in], B [out,r]), fp32. `soft` [n,D] fp32 or None."""

    changes: tuple[Mapping[str, tuple[Tensor, Tensor]], ...]
    soft: Tensor | None = None

    @property
    def n_soft(self) -> int:
        return 0 if self.soft is None else len(self.soft)

    @property
    def bytes(self) -> int:
        tensors = [t for block in self.changes for pair in block.values() for t in pair]
        return sum(t.nbytes for t in (*tensors, *(() if self.soft is None else (self.soft,))))


def read_adapter(folder: Path, config: DecoderConfig) -> Adapter:
    """Read the adapter in a folder, for a decoder of that shape. UserError in one line for an adapter that does not fit
    the decoder.
    """
    settings = read_settings(folder)
    kind = settings.get("peft_type")
    if kind not in ("LORA", "PROMPT_TUNING"):
        raise UserError(f"{folder}: peft_type is {kind!r}; LORA and PROMPT_TUNING are read")
    tensors = _read(folder)
    try:
        return _lora(settings, tensors, config) if kind == "LORA" else _soft(settings, tensors, config)
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None


def read_settings(folder: Path) -> dict[str, Any]:
    """Read adapter_config.json. UserError where there is none."""
    file = folder / CONFIG
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except OSError:
        raise UserError(f"{folder}: no adapter here ({CONFIG} is missing)") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: not JSON ({error})") from None
    if not isinstance(settings, dict):
        raise UserError(f"{file}: not a JSON object")
    return settings


def save_soft_prompt(folder: Path, soft: Tensor, config: DecoderConfig, base: str) -> None:
    """Write a soft prompt [n,D] in PEFT's layout. `base`: the model's name."""
    settings = {
        "peft_type": "PROMPT_TUNING",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "num_virtual_tokens": len(soft),
        "token_dim": config.d_model,
        "num_layers": config.n_layer,
        "num_attention_heads": config.n_head,
        "num_transformer_submodules": 1,
        "prompt_tuning_init": "RANDOM",
        "inference_mode": True,
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file({SOFT: soft.detach().to("cpu", torch.float32, copy=True)}, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _read(folder: Path) -> dict[str, Tensor]:
    file = folder / WEIGHTS
    if not file.is_file():
        if (folder / PICKLED).is_file():
            raise UserError(f"{folder / PICKLED}: pickled weights can run code; save the adapter as {WEIGHTS}")
        raise UserError(f"{folder}: {WEIGHTS} is missing")
    try:
        tensors = load_file(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{file}: damaged or no safetensors file ({error})") from None
    for name, tensor in tensors.items():
        if tensor.dtype not in FLOATS:
            raise UserError(f"{file}: {name} is {str(tensor.dtype)[6:]}; F32, F16 and BF16 are read")
        if not bool(tensor.isfinite().all()):
            raise UserError(f"{file}: {name} has values that are no finite numbers; the file is damaged")
    return {name: tensor.float() for name, tensor in tensors.items()}


def _soft(settings: Mapping[str, Any], tensors: Mapping[str, Tensor], config: DecoderConfig) -> Adapter:
    if set(tensors) != {SOFT}:
        raise UserError(f"{WEIGHTS} holds {sorted(tensors)[:3]}; a soft prompt is one tensor, {SOFT}")
    soft, n = tensors[SOFT], settings.get("num_virtual_tokens")
    if soft.ndim != 2 or soft.shape[1] != config.d_model:
        raise UserError(
            f"{SOFT} is {tuple(soft.shape)}, the base is {config.d_model} wide: it belongs to another model"
        )
    if len(soft) != n or not 1 <= len(soft) < config.max_length:
        raise UserError(
            f"{len(soft)} soft tokens where {CONFIG} says {n}; there must be 1 to {config.max_length - 1}, the context"
        )
    return Adapter((), soft.contiguous())


def _lora(settings: Mapping[str, Any], tensors: dict[str, Tensor], config: DecoderConfig) -> Adapter:
    for name, values in PLAIN.items():
        if settings.get(name) not in values:
            raise UserError(f"{name} is {settings[name]!r}, which is not supported; merge this adapter into its base")
    rank, alpha = settings.get("r"), settings.get("lora_alpha")
    if not isinstance(rank, int) or not 1 <= rank <= HIGHEST_RANK:
        raise UserError(f"r is {rank!r}; a rank must be from 1 to {HIGHEST_RANK}")
    if not isinstance(alpha, int | float) or not abs(alpha) < LARGEST:
        raise UserError(f"lora_alpha is {str(alpha)[:20]}; it must be a number, and one that fp32 holds")
    scale = alpha / math.sqrt(rank) if settings.get("use_rslora") else alpha / rank
    remaining = dict(tensors)
    family = adapter_family(tensors, config)
    blocks = []
    for number in range(config.n_layer):
        block: dict[str, tuple[Tensor, Tensor]] = {}
        for part in linears_of(config):
            name = f"blocks.{number}.{part}.weight"
            pairs = _pairs(remaining, config, name, rank, family)
            if any(pair is not None for pair in pairs):
                a, b = _join(pairs, _heights(config, number, part, len(pairs)))
                b = (scale * our_rows(name, b, config, family)).contiguous()
                if not bool(b.isfinite().all()):
                    raise UserError(f"with lora_alpha {alpha}, the change of block {number} is no finite number")
                block[part] = (a, b)
        blocks.append(block)
    if remaining:
        raise UserError(
            f"{min(remaining)} has no place in the base's {config.n_layer} blocks: it belongs to another model"
        )
    if not tensors:
        raise UserError(f"{WEIGHTS} is empty")
    return Adapter(tuple(blocks))


def _pairs(
    remaining: dict[str, Tensor], config: DecoderConfig, ours: str, rank: int, family: Family
) -> list[tuple[Tensor, Tensor] | None]:
    """Remove A [r,in] and B [out,r] of each part of one of our products from `remaining` and return the pairs; None
    where there are none.
    """
    number, part = int(ours.split(".")[1]), ours.split(".")[2]
    names = names_of(config, ours, family)
    inputs, heights = _inputs(config, part), _heights(config, number, part, len(names))
    pairs: list[tuple[Tensor, Tensor] | None] = []
    for theirs, height in zip(names, heights, strict=True):
        stem = f"base_model.model.{theirs.removesuffix('.weight')}"
        a, b = (remaining.pop(f"{stem}.lora_{which}.weight", None) for which in "AB")
        if a is None and b is None:
            pairs.append(None)
            continue
        if a is None or b is None:
            raise UserError(f"{stem} has only one of lora_A and lora_B; the file is damaged")
        if tuple(a.shape) != (rank, inputs) or tuple(b.shape) != (height, rank):
            raise UserError(
                f"{stem} is {tuple(b.shape)} x {tuple(a.shape)}, the base needs {(height, rank)} x {(rank, inputs)}: it"
                " belongs to another model"
            )
        pairs.append((a, b))
    return pairs


def _join(pairs: Sequence[tuple[Tensor, Tensor] | None], heights: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return one A [r,in] and one B [out,r] for a fused product. heights: outputs of each part."""
    kinds: list[Tensor] = []  # different As
    for pair in pairs:
        if pair is not None and not any(torch.equal(pair[0], a) for a in kinds):
            kinds.append(pair[0])
    columns = []
    for a in kinds:
        column = [
            pair[1] if pair is not None and torch.equal(pair[0], a) else torch.zeros(height, len(a))
            for pair, height in zip(pairs, heights, strict=True)
        ]
        columns.append(torch.cat(column))
    return torch.cat(kinds).contiguous(), torch.cat(columns, dim=1)


def _inputs(c: DecoderConfig, part: str) -> int:
    return {"out": c.n_head * c.d_head, "down": c.d_ff}.get(part, c.d_model)


def _heights(c: DecoderConfig, number: int, part: str, n_parts: int) -> list[int]:
    """Return the outputs of each part of a product that is kept in n_parts tensors."""
    sizes = sizes_of(c, f"blocks.{number}.{part}.weight")
    whole = {"qkv": (c.n_head + 2 * c.kv_heads) * c.d_head, "up": c.d_ff}.get(part, c.d_model)
    sizes = [whole] if sizes == [-1] else sizes
    return sizes if len(sizes) == n_parts else [sum(sizes)]


def adapter_family(tensors: Mapping[str, Tensor], config: DecoderConfig) -> Family:
    """Return the family whose names an adapter's tensors [...] have: of two that fit the base, the one with more of
    them (Phi-3 has fused products where LLaMA has several)."""

    def n_named(family: Family) -> int:
        ours = [f"blocks.{layer}.{part}.weight" for layer in range(config.n_layer) for part in linears_of(config)]
        names = [theirs for name in ours for theirs in names_of(config, name, family)]
        return sum(f"base_model.model.{theirs.removesuffix('.weight')}.lora_A.weight" in tensors for theirs in names)

    return max((family_of(config), *(f for f in FAMILIES if f.has(config))), key=n_named)
