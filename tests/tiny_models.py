"""The tokenizer and the model folders of a few thousand weights that tests of single modules work on."""

import functools
import json
from pathlib import Path
from typing import Any

import tokenizers
import torch
from safetensors.torch import save_file

from kaiwa.core.artifact import Artifact
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import make_decoder
from kaiwa.model.encoder import TextEncoder
from kaiwa.model.formats.encoder_folder import ENCODERS, read_encoder_config
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


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "dog", "sea", "a", "##s", "query", ":", "."]


def word_piece() -> tokenizers.Tokenizer:
    """Return a WordPiece tokenizer of 14 words."""
    inner = tokenizers.BertWordPieceTokenizer({word: id for id, word in enumerate(WORDS)}, lowercase=True)
    return tokenizers.Tokenizer.from_str(inner.to_str())


def embedding_folder(folder: Path, *, max_length: int = 24, architecture: str = "BertModel", **files: Any) -> Path:
    """Write a random embedding model as sentence-transformers does. files: more JSON files, by their names' stems."""
    folder.mkdir(parents=True)
    config = {
        "architectures": [architecture],
        "vocab_size": len(WORDS),
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 24,
        "max_position_embeddings": 40,
    }
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate((("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")))
    ]
    contents = {
        "config": config,
        "modules": modules,
        "sentence_bert_config": {"max_seq_length": max_length},
        "1_Pooling/config": {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False},
    }
    (folder / "1_Pooling").mkdir()
    for name, content in (contents | files).items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    torch.manual_seed(0)
    state = TextEncoder(read_encoder_config(folder)).state_dict()
    layout = ENCODERS[architecture]
    save_file({layout.name(name): tensor for name, tensor in state.items()}, folder / "model.safetensors")
    word_piece().save(str(folder / "tokenizer.json"))
    return folder
