"""Any model of the catalog, opened for training: dense fp32 weights, the tokenizer, and the trained parameters.

A model folder is read unchanged; 4-bit weights (GGUF, GPTQ) are expanded. All weights are trained, or a low-rank
change of them, or a soft prompt. The published folder is a plain model again: changes are added to the weights.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kaiwa.catalog.entries import entry_by_name_or_path, weights_format
from kaiwa.catalog.weights import open_weights
from kaiwa.core.artifact import Artifact, content_hash, fingerprint, open_artifact
from kaiwa.core.errors import UserError
from kaiwa.core.rng import numpy_rng, seed_for
from kaiwa.model.adapter import read_adapter, save_soft_prompt
from kaiwa.model.attention import attend_rows
from kaiwa.model.decoder import Decoder
from kaiwa.model.formats.hf_folder import save_model
from kaiwa.model.lora import LoraLinear, add_lora, continue_lora, merge_lora, save_adapter
from kaiwa.model.soft_prompt import SoftEmbedding, add_soft_prompt, least_likely, merge_soft_prompt
from kaiwa.tokenizer.folder import copy_tokenizer, special_ids
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.tokenizer.train import save as save_tokenizer


@dataclass(frozen=True, slots=True)
class Trainable:
    """A model and its trained parameters. `tokenizer` has the soft prompt's tokens, and puts them before every
    conversation."""

    base: Path
    decoder: Decoder
    tokenizer: Tokenizer


def as_parent(path: Path) -> Artifact:
    """Return a base model as a stage's parent: an artifact of kaiwa, another model folder, a model file, or a name of
    the catalog. UserError for a path or name without a model.
    """
    if not path.exists():
        path = entry_by_name_or_path(str(path)).path
    if weights_format(path) != "folder":
        return fingerprint(path)
    if (path / "kaiwa.json").is_file():
        return open_artifact(path)
    if not (path / "config.json").is_file():
        raise UserError(f"{path}: no model here; give a model's folder or a .gguf file")
    return Artifact(path, {"kind": "model", "hash": content_hash(path)})


def open_trainable(
    base: Path,
    seed: int,
    *,
    lora_rank: int = 0,
    lora_alpha: float = 16.0,
    soft_prompt: int = 0,
    adapter: Path | None = None,
) -> Trainable:
    """Open a model for training. lora_rank 0 and soft_prompt 0: all weights are trained. UserError for both at once.

    adapter: a folder with a low-rank change in PEFT's layout, to be trained further (its rank is its own).
    """
    if lora_rank and soft_prompt:
        raise UserError(f"lora_rank {lora_rank} and soft_prompt {soft_prompt}: train one of them at a time")
    decoder, tokenizer = open_base(base)
    if adapter is not None:
        generator = torch.Generator().manual_seed(seed_for(seed, "lora"))
        continue_lora(decoder, read_adapter(adapter, decoder.config), generator)
    elif lora_rank:
        add_lora(decoder, lora_rank, lora_alpha, torch.Generator().manual_seed(seed_for(seed, "lora")))
    elif soft_prompt:
        start = numpy_rng(seed, "soft-prompt").integers(0, tokenizer.vocab_size, soft_prompt)
        tokenizer = with_soft_tokens(tokenizer, decoder.config.vocab_size, soft_prompt)
        add_soft_prompt(decoder, torch.from_numpy(start))
    else:
        decoder.requires_grad_(True)
    return Trainable(base, decoder, tokenizer)


def open_base(base: Path) -> tuple[Decoder, Tokenizer]:
    """Read dense fp32 weights and the tokenizer of a model's folder or file. UserError for a reward model."""
    weights = open_weights(base)
    return weights.read_dense(), weights.read_tokenizer()


def read_tokenizer(base: Path) -> Tokenizer:
    """Read the tokenizer alone of a model's folder or file."""
    return open_weights(base).read_tokenizer()


def context_length(base: Path) -> int:
    """Return how many tokens a model reads at once."""
    return open_weights(base).config.max_length


def with_soft_tokens(tokenizer: Tokenizer, first: int, n: int) -> Tokenizer:
    """Return the tokenizer with n more tokens, numbered from `first`, at the beginning of every conversation.

    `first` is the embedding's height: rows without a token get a placeholder token, never written, to make ids match.
    """
    import tokenizers

    if tokenizer.chat_template is None:
        raise UserError("the base model has no chat template, so there is no conversation to put a soft prompt before")
    inner = tokenizers.Tokenizer.from_str(tokenizer.inner.to_str())
    fill = [f"<|unused_{i}|>" for i in range(tokenizer.vocab_size, first)]
    names = [f"<|soft_{i}|>" for i in range(n)]
    inner.add_special_tokens([tokenizers.AddedToken(t, special=True, normalized=False) for t in fill + names])
    tokenizer_with_soft = Tokenizer(
        inner,
        chat_template="{{ '" + "".join(names) + "' }}" + tokenizer.chat_template,
        eos_token=tokenizer.eos_token,
        pad_token=tokenizer.pad_token,
        bos_token=tokenizer.bos_token,
        document_end=tokenizer.document_end,
        generation_ends=tokenizer.generation_ends,
    )
    if tokenizer_with_soft.specials.get(names[0]) != first:
        raise UserError(f"the base model has soft tokens already ({names[0]}); train from the model below it")
    return tokenizer_with_soft


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the trained weights, by name, in their own shapes [...]: the contents of a checkpoint."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


@torch.no_grad()
def restore(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy back the weights [...] returned by `trained_state`."""
    parameters = dict(model.named_parameters())
    for name, tensor in state.items():
        parameters[name].copy_(tensor)


def save_trained(folder: Path, trained: Trainable, probe: Tensor | None = None) -> None:
    """Write a plain model folder; a low-rank change or soft prompt also by itself, under adapter/.

    In fp32 whatever the size: half a step of bf16 at 0.1 is 2e-4, as large as a low-rank change of a weight. (The
    engine rounds a large model to bf16 where the machine computes in bf16; the adapter on its base is not rounded.)

    probe [B,T]: some token ids, used to find the least likely next token (needed by a soft prompt).
    """
    decoder = trained.decoder
    if isinstance(decoder.blocks[0].qkv, LoraLinear):
        save_adapter(folder / "adapter", decoder, trained.base.name)
        merge_lora(decoder)
    elif isinstance(decoder.embed, SoftEmbedding):
        assert probe is not None
        save_soft_prompt(folder / "adapter", decoder.embed.soft, decoder.config, trained.base.name)
        positions = torch.arange(probe.shape[1], device=probe.device).expand_as(probe)
        with torch.no_grad():
            hidden = decoder(probe, positions, attend_rows(None)).flatten(0, 1)
        decoder = merge_soft_prompt(decoder, least_likely(decoder, hidden))
    save_model(folder, decoder, special_ids(trained.tokenizer), torch.float32)
    if weights_format(trained.base) != "folder" or decoder is not trained.decoder:
        save_tokenizer(trained.tokenizer, folder)
    else:
        copy_tokenizer(trained.base, folder)
    if (trained.base / "generation_config.json").is_file():
        shutil.copyfile(trained.base / "generation_config.json", folder / "generation_config.json")


def card_of(base: Path) -> dict[str, Any]:
    """Return the base's chat.json, {} if missing."""
    file = base / "chat.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
