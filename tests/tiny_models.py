"""The tokenizer and the model folders of a few thousand weights that tests of single modules work on."""

import functools
from pathlib import Path
from typing import Any

import torch

from kaiwa.core.artifact import Artifact
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import make_decoder
from kaiwa.model.formats.hf_folder import save_model
from kaiwa.model.heads import ScalarModel
from kaiwa.tokenizer.config import TokenizerConfig
from kaiwa.tokenizer.folder import special_ids
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.tokenizer.train import save, train


@functools.cache
def tiny_tokenizer(vocab_size: int = 270) -> Tokenizer:
    return train(["the cat and the dog 0123?\n"] * 30, TokenizerConfig(vocab_size=vocab_size))


def tiny_config(tokenizer: Tokenizer | None = None, **changes: Any) -> DecoderConfig:
    sizes: dict[str, Any] = {"d_model": 16, "n_layer": 2, "n_head": 2, "d_ff": 24, "max_length": 64}
    return DecoderConfig(vocab_size=(tokenizer or tiny_tokenizer()).vocab_size, **(sizes | changes))


def policy_folder(folder: Path, *, seed: int = 0, tokenizer: Tokenizer | None = None, **changes: Any) -> Artifact:
    """Write a decoder with its tokenizer."""
    tokenizer = tokenizer or tiny_tokenizer()
    save_model(folder, make_decoder(tiny_config(tokenizer, **changes), seed), special_ids(tokenizer), torch.float32)
    save(tokenizer, folder)
    return Artifact(folder, {"kind": "sft", "hash": folder.name})


def reward_folder(folder: Path, *, seed: int = 1, tokenizer: Tokenizer | None = None, **changes: Any) -> Artifact:
    """Write a reward model with a head that is not 0, and its tokenizer."""
    tokenizer = tokenizer or tiny_tokenizer()
    model = ScalarModel(make_decoder(tiny_config(tokenizer, **changes), seed))
    with torch.no_grad():
        model.score.weight.normal_(generator=torch.Generator().manual_seed(seed))
        model.bias.fill_(0.25)
    save_model(folder, model, special_ids(tokenizer), torch.float32)
    save(tokenizer, folder)
    return Artifact(folder, {"kind": "reward", "hash": folder.name, "metrics": {}})
