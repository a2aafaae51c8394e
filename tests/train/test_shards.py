"""Shards of a corpus by source: mixtures by weight, held-out rows that never change, and wrong names."""

from pathlib import Path

import numpy as np
import pytest

from kaiwa.core.errors import UserError
from kaiwa.text.records import Document
from kaiwa.tokenizer.shards import open_shard, write_shards
from kaiwa.train.shards import Shards, source_tokens
from tests.tiny_models import tiny_tokenizer

TEXTS = {"cats": "the cat and the cat", "dogs": "the dog 0123 the dog"}


def folder_of(folder: Path, weights: dict[str, float]) -> Path:
    documents = [
        Document(text=f"{text} {i}", source=source, id=f"{source}/{i}")
        for i in range(30)
        for source, text in TEXTS.items()
    ]
    held_out = [Document(text=f"{TEXTS['cats']} {i}", source="cats", id=f"v{i}") for i in range(12)]
    splits = {"train": documents, "validation": held_out}
    write_shards(folder, tiny_tokenizer(), splits, weights, chat_share=0.0, seed=0)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("shards"), {"cats": 0.75, "dogs": 0.25})


def test_the_tokens_of_a_source_are_its_documents_in_order(folder: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokens, offsets = source_tokens(open_shard(folder), "dogs")
    assert len(offsets) == 31
    for i in range(30):
        document = tokens[offsets[i] : offsets[i + 1]].tolist()
        assert document == [*tokenizer.encode(f"{TEXTS['dogs']} {i}"), tokenizer.document_end_id]


def drawn(folder: Path, n: int, **changes: object) -> list[int]:
    """How many of n rows come from each stream."""
    mixture = Shards(folder).mixture(16, 0, **changes)  # type: ignore[arg-type]
    mixture.next(n)
    return mixture.drawn


def test_rows_come_by_the_corpus_weights_or_by_ones_own(folder: Path) -> None:
    assert drawn(folder, 40) == [30, 10]
    assert drawn(folder, 40, weights={"dogs": 3.0, "cats": 1.0}) == [30, 10]
    assert drawn(folder, 5, weights={"dogs": 1.0}) == [5]


def test_without_weights_rows_come_by_size(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {})
    sizes = [len(source_tokens(open_shard(folder), name)[0]) for name in open_shard(folder).sources]
    expected = [100 * size / sum(sizes) for size in sizes]
    assert drawn(folder, 100) == pytest.approx(expected, abs=1.0)


def test_a_source_in_order_begins_with_its_first_document(folder: Path) -> None:
    mixture = Shards(folder).mixture(16, 0, {"cats": 1.0}, in_order=("cats",))
    tokens, _ = source_tokens(open_shard(folder), "cats")
    assert mixture.next(2).ids.flatten().tolist() == tokens[:32].tolist()
    shuffled = Shards(folder).mixture(16, 0, {"cats": 1.0})
    assert shuffled.next(2).ids.flatten().tolist() != tokens[:32].tolist()


def test_held_out_rows_are_always_the_same_and_all_count(folder: Path) -> None:
    shards = Shards(folder)
    assert shards.sources == ["cats"]
    one, two = shards.held_out("cats", 16, 4), shards.held_out("cats", 16, 2)
    assert one.ids.shape == (4, 16)
    assert np.array_equal(one.ids[:2], two.ids)
    assert (one.weights == 1).all()
    whole = len(source_tokens(shards.validation["cats"], "cats")[0])
    assert shards.held_out("cats", 16, 999).ids.shape[0] == whole // 16  # as many as there are
    assert shards.held_out("cats", 10_000, 3).ids.shape == (1, whole)  # a row as long as the text


def test_wrong_names_are_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the corpus has no source 'cat'; did you mean 'cats'"):
        Shards(folder).mixture(16, 0, {"cat": 1.0})
    with pytest.raises(UserError, match=r"no held-out text of source 'dogs'; did you mean 'cats'|; there is cats"):
        Shards(folder).held_out("dogs", 16, 1)
    with pytest.raises(UserError, match=r"source 'cats' has .* tokens, one row needs 100000; give more text"):
        Shards(folder).mixture(100_000, 0, {"cats": 1.0})
    with pytest.raises(UserError, match=r"index.npz: missing; give a folder that `kaiwa tokenizer` published"):
        Shards(tmp_path)


def test_text_of_another_tokenizer_is_refused(tmp_path: Path) -> None:
    from kaiwa.tokenizer.config import TokenizerConfig
    from kaiwa.tokenizer.folder import check_tokens
    from kaiwa.tokenizer.train import save, train

    texts = ["the baker sells bread", "the miller sells flour"] * 30
    ours, theirs = (train(texts, TokenizerConfig(vocab_size=n, min_frequency=1)) for n in (264, 266))
    save(theirs, tmp_path)
    with pytest.raises(UserError, match=r"encoded by another tokenizer than model's \(266 tokens against 264\)"):
        check_tokens(ours, Path("model"), tmp_path)
    save(ours, tmp_path)
    check_tokens(ours, Path("model"), tmp_path)
    check_tokens(theirs, Path("model"), tmp_path)  # a model may have further tokens
