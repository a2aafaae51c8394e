"""Embedding models in the catalog: their kind, their texts' ids, and what cannot be done with them."""

from pathlib import Path

import pytest
import torch

from kaiwa.catalog.encoder import load_embedding_model
from kaiwa.catalog.entries import Entry, entries, read_entry, usable, writers
from kaiwa.catalog.memory_plan import load_here
from kaiwa.core.errors import UserError
from tests.tiny_models import WORDS, embedding_folder

PROMPTS = {"prompts": {"query": "query: ", "passage": "a "}, "default_prompt_name": None}


def entry_of(folder: Path) -> Entry:
    entry = read_entry(folder, "tiny")
    assert entry is not None
    return entry


def test_the_entry_and_the_lists(tmp_path: Path) -> None:
    embedding_folder(tmp_path / "models" / "tiny")
    (entry,) = (one for one in entries(tmp_path, tmp_path) if one.name == "tiny")
    assert (entry.kind, entry.chat, entry.writes, entry.refusal) == ("embedding", False, False, "")
    assert entry in usable([entry])
    assert writers([entry]) == []
    with pytest.raises(UserError, match="tiny is an embedding model"):
        load_here(entry, print)


def test_a_folder_that_is_not_computed_says_why(tmp_path: Path) -> None:
    folder = embedding_folder(tmp_path / "tiny", modules=[{"type": "a.LSTM", "path": "1_LSTM"}])
    assert entry_of(folder).refusal == "modules.json: module LSTM at '1_LSTM' is not computed"
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    (folder / "modules.json").unlink()
    assert "pytorch_model.bin is not read" in entry_of(folder).refusal


def test_texts_become_ids_and_are_cut(tmp_path: Path) -> None:
    """The tokens around a text stay when it is cut; a folder's own truncation and padding do not count."""
    folder = embedding_folder(tmp_path / "tiny", max_length=6)
    loaded = load_embedding_model(entry_of(folder))
    loaded.tokenizer.enable_truncation(3)
    loaded.tokenizer.enable_padding(length=9)
    loaded.tokenizer.save(str(folder / "tokenizer.json"))
    loaded = load_embedding_model(entry_of(folder))
    names = [WORDS[i] for i in loaded.encode("The cats, dog. the sea")]
    assert names == ["[CLS]", "the", "cat", "##s", "[UNK]", "dog", ".", "the", "sea", "[SEP]"]
    assert [WORDS[i] for i in loaded.cut("The cats, dog. the sea")] == ["[CLS]", "the", "cat", "##s", "[UNK]", "[SEP]"]
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"no tokenizer.json and no vocab.txt"):
        load_embedding_model(entry_of(folder))
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    assert load_embedding_model(entry_of(folder)).encode("The cats") == loaded.encode("The cats")


def test_vectors_of_a_batch_are_those_of_each_alone(tmp_path: Path) -> None:
    loaded = load_embedding_model(entry_of(embedding_folder(tmp_path / "tiny")))
    texts = [loaded.encode(text) for text in ("the sea", "a", "the cat . the dog . the sea .")]
    together = torch.tensor(loaded.embed(texts))
    alone = torch.tensor([loaded.embed([ids])[0] for ids in texts])
    assert (together - alone).abs().max() < 1e-6
    assert torch.allclose(together.norm(dim=1), torch.ones(3))


def test_prompts(tmp_path: Path) -> None:
    loaded = load_embedding_model(entry_of(embedding_folder(tmp_path / "tiny", config_sentence_transformers=PROMPTS)))
    assert loaded.prompt(None) == ""
    assert loaded.prompt("passage") == "a "
    assert loaded.prompt(None, "query") == "query: "
    assert loaded.prompt(None, "document") == "a ", "another model's name for the same kind"
    assert loaded.prompt(None, "clustering") == "", "a kind that the model does not know"
    with pytest.raises(UserError, match="no prompt 'document': it has query, passage"):
        loaded.prompt("document")


def test_a_tokenizer_of_another_model(tmp_path: Path) -> None:
    folder = embedding_folder(tmp_path / "tiny")
    loaded = load_embedding_model(entry_of(folder))
    loaded.tokenizer.add_tokens(["more"])
    loaded.tokenizer.save(str(folder / "tokenizer.json"))
    with pytest.raises(UserError, match="the tokenizer has 15 tokens, the weights have 14 rows"):
        load_embedding_model(entry_of(folder))
