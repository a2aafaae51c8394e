"""The tokenizer stage: from a corpus artifact to the tokenizer and its shards."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizer_texts import texts

from kaiwa.core.artifact import Artifact, Plan, open_artifact, publish
from kaiwa.core.context import Context
from kaiwa.core.errors import UserError
from kaiwa.core.metrics import read_metrics
from kaiwa.text.documents import read_documents, write_documents
from kaiwa.text.records import Document, conversation, write_jsonl
from kaiwa.text.template import render
from kaiwa.tokenizer.config import TokenizerConfig
from kaiwa.tokenizer.run import run, training_texts
from kaiwa.tokenizer.shards import open_shard, shard_names
from kaiwa.tokenizer.tokenizer import Tokenizer

CONFIG = TokenizerConfig(vocab_size=420)
TALK = [
    {"role": "user", "content": "Who sells <|im_end|>?"},
    {"role": "assistant", "content": "The baker, for 3 coins."},
]


def make_corpus(folder: Path, weights: tuple[float, float] = (0.0, 0.0)) -> Artifact:
    """Village chats and plain text in three languages, as the corpus stage would publish them."""
    documents = [
        Document(text=t, source="docs", language=("en", "ja", "code")[i % 3], id=f"docs/{i}")
        for i, t in enumerate(texts(300))
    ]
    documents += [
        Document(text=f"Zorblax {i} sells bread. {t}", source="village", id=f"v/{i}", meta={"messages": TALK})
        for i, t in enumerate(texts(100, seed=7))
    ]
    with publish(folder, Plan("corpus", CONFIG, {}, 0)) as work:
        write_documents(work.path / "train.parquet", [d for i, d in enumerate(documents) if i % 10])
        write_documents(work.path / "validation.parquet", documents[::10])
        card = {"sources": {n: {"weight": w} for n, w in zip(("docs", "village"), weights, strict=True)}}
        (work.path / "card.json").write_text(json.dumps(card))
    return open_artifact(folder)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return make_corpus(tmp_path_factory.mktemp("c") / "corpus")


@pytest.fixture(scope="module")
def built(corpus: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return run(CONFIG, Context(), corpus=corpus, out=tmp_path_factory.mktemp("t") / "tokenizer")


def test_plain_documents_come_back_from_the_shards(corpus: Artifact, built: Artifact) -> None:
    tokenizer = Tokenizer.load(built.path)
    shard = open_shard(built.path)
    documents = list(read_documents(corpus, "train"))
    assert len(shard) == len(documents)
    assert shard.tokens.dtype == np.uint16
    chats = 0
    for i, d in enumerate(documents):
        ids = shard.document(i).tolist()
        assert ids[-1] == tokenizer.document_end_id
        assert shard.sources[shard.source[i]] == d.source
        assert shard.languages[shard.language[i]] == d.language
        if tokenizer.specials["<|im_start|>"] in ids:
            chats += 1
            assert d.source == "village"
            assert ids[:-1] == render(tokenizer, conversation(TALK)).ids
        else:
            assert tokenizer.decode(ids) == d.text
            assert shard.n_bytes[i] == len(d.text.encode())
    assert 0.35 < chats / sum(d.source == "village" for d in documents) < 0.65


def test_held_out_text_is_plain_and_by_source(corpus: Artifact, built: Artifact) -> None:
    tokenizer = Tokenizer.load(built.path)
    assert shard_names(built.path) == ["train", "validation-docs", "validation-village"]
    held = open_shard(built.path, "validation-village")
    documents = [d for d in read_documents(corpus, "validation") if d.source == "village"]
    assert [tokenizer.decode(held.document(i)) for i in range(len(held))] == [d.text for d in documents]
    with pytest.raises(UserError, match="did you mean 'validation-village'"):
        open_shard(built.path, "validation-vilage")


def test_card_and_metrics(corpus: Artifact, built: Artifact, tmp_path: Path) -> None:
    card = json.loads((built.path / "card.json").read_text())
    assert set(card["bytes_per_token"]) == {"en", "ja", "code"}
    assert all(value > 1.5 for value in card["bytes_per_token"].values())
    assert card["tokens"]["train"] == len(open_shard(built.path).tokens)
    run(CONFIG, Context(logs=tmp_path), corpus=corpus, out=tmp_path / "t")
    (row,) = read_metrics(tmp_path / "tokenizer.jsonl")
    assert row["vocab_size"] == 420
    assert row["bytes_per_token_ja"] == card["bytes_per_token"]["ja"]


def test_same_bytes_again(corpus: Artifact, built: Artifact, tmp_path: Path) -> None:
    again = run(CONFIG, Context(), corpus=corpus, out=tmp_path / "t")
    assert again.hash == built.hash
    assert run(CONFIG, Context(), corpus=corpus, out=tmp_path / "t").manifest == again.manifest
    said: list[str] = []
    other = run(replace(CONFIG, chat_share=0.0), Context(say=said.append), corpus=corpus, out=tmp_path / "t")
    assert other.hash != again.hash
    assert said == ["t is built again: config.chat_share: 0.5 -> 0.0"]


def test_neutral_names_replace_the_villages(corpus: Artifact, tmp_path: Path) -> None:
    """A name that stands in every document must not become a token."""
    neutral = tmp_path / "neutral.jsonl"
    rows = [{"text": f"{'abcdefghij'[i % 10] * 3}x {i} sells bread. {t}"} for i, t in enumerate(texts(100, seed=7))]
    write_jsonl(neutral, rows)
    tokenizers = {}
    for name, file in (("raw", None), ("neutral", neutral)):
        artifact = run(CONFIG, Context(), corpus=corpus, neutral_village=file, out=tmp_path / name)
        tokenizers[name] = Tokenizer.load(artifact.path)
        assert artifact.metrics["neutral_names"] == (file is not None)
    assert len(tokenizers["raw"].encode("Zorblax")) < len(tokenizers["neutral"].encode("Zorblax"))
    documents = list(read_documents(corpus, "train"))
    with pytest.raises(UserError, match="no source 'vilage'; did you mean 'village'"):
        training_texts(documents, replace(CONFIG, neutral_for=("vilage",)), neutral)


def test_training_text_is_capped(corpus: Artifact) -> None:
    documents = list(read_documents(corpus, "train"))
    capped = training_texts(documents, replace(CONFIG, max_train_bytes=5000), None)
    assert 3000 < sum(len(t.encode()) for t in capped) < 7000
    assert any("パン" in t for t in capped)


def test_shards_have_the_weights_of_their_sources(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus", weights=(1.0, 3.0))
    built = run(CONFIG, Context(), corpus=corpus, out=tmp_path / "t")
    shard = open_shard(built.path)
    assert shard.weights == (0.25, 0.75)


def test_a_vocabulary_too_large_leaves_nothing_half_done(corpus: Artifact, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"more than this text supports"):
        run(replace(CONFIG, vocab_size=50_000), Context(), corpus=corpus, out=tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_a_damaged_shard_is_noticed(built: Artifact, tmp_path: Path) -> None:
    for file in built.path.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "train.bin").write_bytes(b"\0\0")
    with pytest.raises(UserError, match="not as long as its index"):
        open_shard(tmp_path)
    with pytest.raises(UserError, match=r"index\.npz: missing"):
        open_shard(tmp_path / "nowhere")
