"""Loading of folders that are not as they should be: one line each, or the right tensor taken."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from kaiwa.catalog.entries import read_entry
from kaiwa.catalog.load import check_rows, load
from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import make_decoder
from kaiwa.model.formats.hf_folder import INDEX, WEIGHTS, save_model
from kaiwa.tokenizer.config import TokenizerConfig
from kaiwa.tokenizer.folder import special_ids
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.tokenizer.train import save, train


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    tokenizer = train(["the cat sat on the mat. 0123 猫\n"] * 20, TokenizerConfig(vocab_size=272))
    config = DecoderConfig(vocab_size=280, d_model=32, n_layer=2, n_head=2, d_ff=48, max_length=64)
    save_model(folder, make_decoder(config, 0), special_ids(tokenizer), torch.float32)
    save(tokenizer, folder)
    return folder


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "model"))


def open_folder(folder: Path) -> torch.nn.Module:
    entry = read_entry(folder, "model")
    assert entry is not None
    return load(entry).decoder


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.int8])
def test_weights_of_a_kind_that_is_not_computed(dtype: torch.dtype, folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file({n: t.to(dtype) if t.ndim == 2 else t for n, t in tensors.items()}, folder / WEIGHTS)
    kind = str(dtype).removeprefix("torch.")
    with pytest.raises(UserError, match=f"embed.weight is {kind}; F32, F16 and BF16 are computed"):
        open_folder(folder)


def test_a_tensor_in_two_shards_is_the_one_that_the_index_names(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    names = sorted(tensors)
    right = tensors[names[3]].clone()
    (folder / WEIGHTS).unlink()
    files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    save_file({n: tensors[n] + 1 if n == names[3] else tensors[n] for n in names[:4]}, folder / files[0])
    save_file({n: tensors[n] for n in names[3:]}, folder / files[1])
    places = {name: files[i >= 3] for i, name in enumerate(names)}
    (folder / INDEX).write_text(json.dumps({"weight_map": places}))
    loaded = open_folder(folder)
    save_model(folder / "again", loaded, {}, torch.float32)  # type: ignore[arg-type]
    assert torch.equal(load_file(folder / "again" / WEIGHTS)[names[3]], right)
    (folder / INDEX).unlink()
    with pytest.raises(UserError, match="is in another file of the folder too"):
        open_folder(folder)


def test_a_tokenizer_larger_than_the_embedding(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"][:270].contiguous()
    save_file(tensors, folder / WEIGHTS)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 270}))
    with pytest.raises(UserError, match="the tokenizer has 272 tokens, the weights have 270 rows"):
        open_folder(folder)


def test_added_tokens_without_weights_are_said(good: Path) -> None:
    tokenizer = Tokenizer.load(good)
    tokenizer.inner.add_special_tokens(["[PAD]", "[X]"])
    lines: list[str] = []
    check_rows(tokenizer, 272, lines.append)
    assert lines == ["2 added tokens have no weights and cannot be used ([PAD], [X])"]
    check_rows(tokenizer, 274, lines.append)
    assert len(lines) == 1
