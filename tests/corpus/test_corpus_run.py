"""The corpus stage as a whole, from files to the artifact."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from corpus_texts import prose
from pyarrow import parquet

from kaiwa.core.artifact import Artifact
from kaiwa.core.config import from_json, to_json
from kaiwa.core.context import Context
from kaiwa.core.errors import Stopped, UserError
from kaiwa.core.metrics import read_metrics
from kaiwa.corpus.config import CorpusConfig, Source, from_paths
from kaiwa.corpus.run import run
from kaiwa.corpus.split import split
from kaiwa.text.documents import read_documents
from kaiwa.text.records import Document, write_jsonl

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "text"
    (root / "inner").mkdir(parents=True)
    for i in range(20):
        (root / "inner" / f"{i:02}.txt").write_text(prose(i), encoding="utf-8")
    (root / "note.md").write_text("---\ntitle: secret\n---\n# A note\n\n" + prose(100), encoding="utf-8")
    page = f"<html><body><nav>Menu</nav><article><p>{prose(101, 12)}</p></article></body></html>"
    (root / "page.html").write_text(page, encoding="utf-8")
    write_jsonl(root / "rows.jsonl", [{"text": prose(200 + i)} for i in range(10)])
    parquet.write_table(pa.table({"text": [prose(300 + i) for i in range(10)]}), root / "rows.parquet")
    (root / "old.txt.gz").write_bytes(gzip.compress(prose(400).encode()))
    (root / ".hidden.txt").write_text(prose(401))
    (root / "picture.png").write_bytes(b"\x89PNG")
    return root


def small(*sources: Source, **changes: object) -> CorpusConfig:
    return replace(CorpusConfig(sources=sources, min_train_bytes=100, workers=1), **changes)  # type: ignore[arg-type]


def read_dropped(artifact: Artifact) -> list[tuple[str, str, str]]:
    """(document, reason, first kept duplicate) for everything that was left out."""
    rows = parquet.read_table(artifact.path / "dropped.parquet").to_pylist()
    return [(row["id"], row["reason"], row["duplicate_of"]) for row in rows]


def test_a_folder_of_everything(folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    ctx = Context(say=said.append, logs=tmp_path / "logs")
    artifact = run(small(Source(name="mine", path=str(folder))), ctx, out=tmp_path / "corpus")
    train, held = (list(read_documents(artifact, s)) for s in ("train", "validation"))
    assert len(train) + len(held) == 20 + 1 + 1 + 10 + 10 + 1
    assert held
    assert {d.language for d in train} == {"en"}
    assert not any("secret" in d.text or "Menu" in d.text for d in [*train, *held])
    assert read_dropped(artifact) == []
    card = json.loads((artifact.path / "card.json").read_text())
    assert card["sources"]["mine"]["documents"] == 43
    assert "| mine |" in (artifact.path / "card.md").read_text()
    assert said == []
    assert read_metrics(tmp_path / "logs" / "corpus.jsonl")[-1]["documents"] == len(train)


def test_same_bytes_again_and_for_any_number_of_workers(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small(Source(name="mine", path=str(folder)))
    one = run(config, Context(), out=tmp_path / "one")
    assert run(config, Context(), out=tmp_path / "one").manifest == one.manifest  # finished: nothing is done
    monkeypatch.setattr("kaiwa.corpus.run.POOL_PAYS", 0)
    monkeypatch.setattr("kaiwa.corpus.process.BATCH_BYTES", 1000)
    two = run(replace(config, workers=2), Context(), out=tmp_path / "two")
    assert one.hash == two.hash
    assert run(replace(config, workers=2), Context(), out=tmp_path / "one").manifest == one.manifest


def test_same_bytes_in_another_place(folder: Path, tmp_path: Path) -> None:
    one = run(small(Source(name="mine", path=str(folder))), Context(), out=tmp_path / "one")
    (tmp_path / "deep").mkdir()
    moved = folder.rename(tmp_path / "deep" / "text")
    assert run(small(Source(name="mine", path=str(moved))), Context(), out=tmp_path / "two").hash == one.hash


def test_changed_text_is_built_again(folder: Path, tmp_path: Path) -> None:
    config = small(Source(name="mine", path=str(folder)))
    first = run(config, Context(), out=tmp_path / "out")
    (folder / "more.txt").write_text(prose(500))
    said: list[str] = []
    second = run(config, Context(say=said.append), out=tmp_path / "out")
    assert first.hash != second.hash
    assert any("source:mine" in line for line in said)


def test_stopped_and_started_again(folder: Path, tmp_path: Path) -> None:
    config = small(Source(name="mine", path=str(folder)))
    whole = run(config, Context(), out=tmp_path / "whole")
    with pytest.raises(Stopped):
        run(config, Context(stop=lambda: True), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert run(config, Context(), out=tmp_path / "out").hash == whole.hash


def test_duplicates_name_the_first_kept(tmp_path: Path) -> None:
    texts = [prose(i, 20) for i in range(8)]
    rows = [*texts, texts[0].upper(), texts[1] + " A last sentence was added here.", "too short"]
    write_jsonl(tmp_path / "a.jsonl", [{"text": t, "id": f"d{i}"} for i, t in enumerate(rows)])
    artifact = run(small(Source(name="a", path=str(tmp_path / "a.jsonl"))), Context(), out=tmp_path / "out")
    assert read_dropped(artifact) == [
        ("d8", "duplicate", "d0"),
        ("d9", "near_duplicate", "d1"),
        ("d10", "too_short", ""),
    ]
    assert artifact.metrics["reasons"] == {"duplicate": 1, "near_duplicate": 1, "too_short": 1}


def test_records_keep_their_meta_and_trusted_text_is_left_alone(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "Who bakes?"}, {"role": "assistant", "content": "Mira."}]
    rows = [{"text": f"Mira {i}.", "language": "en", "id": f"v{i}", "meta": {"messages": talk}} for i in range(40)]
    write_jsonl(tmp_path / "v.jsonl", rows)
    source = Source(name="village", path=f"records:{tmp_path / 'v.jsonl'}", trusted=True)
    artifact = run(small(source), Context(), out=tmp_path / "out")
    documents = [*read_documents(artifact, "train"), *read_documents(artifact, "validation")]
    assert len(documents) == 40
    assert all(d.meta["messages"] == talk and d.source == "village" for d in documents)
    assert "village (trusted)" in (artifact.path / "card.md").read_text()


def test_a_budget_counts_the_same_problems_for_any_number_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes read ahead of the budget; what they meet there is not on the card."""
    lines = [line for i in range(200) for line in ("broken", json.dumps({"text": prose(i)}))]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    config = small(Source(name="a", path=str(tmp_path / "a.jsonl"), max_bytes=20_000))
    monkeypatch.setattr("kaiwa.corpus.run.POOL_PAYS", 0)
    monkeypatch.setattr("kaiwa.corpus.process.BATCH_BYTES", 1000)
    one, two = (run(replace(config, workers=w), Context(), out=tmp_path / str(w)) for w in (1, 2))
    assert one.hash == two.hash
    assert 0 < one.metrics["problems"]["bad_json_line"] < 100


def test_sums_that_differ_in_a_sign_are_no_duplicates(tmp_path: Path) -> None:
    rows = [{"text": f"{i} {sign} 2", "language": "en"} for i in range(30) for sign in "+-"]
    write_jsonl(tmp_path / "v.jsonl", rows)
    source = Source(name="village", path=f"records:{tmp_path / 'v.jsonl'}", trusted=True)
    artifact = run(small(source), Context(), out=tmp_path / "out")
    assert artifact.metrics["documents"]["dropped"] == 0


def test_weights_are_on_the_card(tmp_path: Path) -> None:
    for name, n in (("a", 30), ("b", 10)):
        write_jsonl(tmp_path / f"{name}.jsonl", [{"text": prose(ord(name) * 100 + i)} for i in range(n)])
    sources = [Source(name=n, path=str(tmp_path / f"{n}.jsonl"), weight=w) for n, w in (("a", 1.0), ("b", 1.0))]
    artifact = run(small(*sources), Context(), out=tmp_path / "out")
    card = json.loads((artifact.path / "card.json").read_text())
    assert card["sources"]["b"]["mix_share"] == 0.5
    assert card["sources"]["b"]["mix_repeats"] == pytest.approx(2, rel=0.2)
    with pytest.raises(UserError, match="no weight"):
        small(sources[0], Source(name="c", path="c"))


def test_a_moved_source_is_the_same_corpus(tmp_path: Path) -> None:
    """Where text lies decides nothing; what it says and what it is called do."""
    text = "".join(
        f"The miller of house {i} grinds oats, and his neighbour the weaver counts to {i}.\n" for i in range(90)
    )
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine.txt").write_text(text)

    def build(folder: str, said: list[str]) -> Artifact:
        source = Source(name="mine", path=str(tmp_path / folder / "mine.txt"), trusted=True, language="en")
        return run(small(source, split_chars=300), Context(say=said.append), out=tmp_path / "out")

    first = build("a", [])
    (tmp_path / "a").rename(tmp_path / "b")
    said: list[str] = []
    assert build("b", said).manifest == first.manifest
    assert said == []
    assert str(tmp_path) not in json.dumps(first.manifest)
    (tmp_path / "b" / "mine.txt").write_text(text + text.upper())
    assert build("b", said).hash != first.hash
    assert len(said) == 1


def test_builtin_sources(tmp_path: Path) -> None:
    sources = (
        Source(name="docs", path="builtin:docs", language="en", max_bytes=600_000),
        Source(name="code", path="builtin:code", language="code", kind="code", max_bytes=150_000),
    )
    artifact = run(small(*sources), Context(), out=tmp_path / "out")
    train = list(read_documents(artifact, "train"))
    size = {s: sum(len(d.text) for d in train if d.source == s) for s in ("docs", "code")}
    assert 500_000 < size["docs"] < 620_000
    assert 80_000 < size["code"] < 400_000
    assert {d.source for d in read_documents(artifact, "validation")} == {"docs", "code"}
    assert any(d.id.startswith("docs/topics::") for d in train)
    assert any("::module" in d.id for d in train)


def test_split_is_stable_and_keeps_groups_together() -> None:
    documents = [Document(text="x", source="s", id=f"s/module{i // 4}::{i}") for i in range(400)]
    train, held = split(documents, 0.1)
    groups = {d.id.split("::")[0] for d in held}
    assert not groups & {d.id.split("::")[0] for d in train}
    assert 20 <= len(held) <= 80
    more = [*documents, *(Document(text="y", source="s", id=f"s/other{i}") for i in range(100))]
    assert {d.id for d in split(more, 0.1)[1]} >= {d.id for d in held}
    few = [Document(text="x", source="s", id=f"s/{i}") for i in range(2)]
    assert len(split(few, 0.01)[1]) == 1


def test_config_survives_json_and_paths_become_names() -> None:
    config = CorpusConfig()
    assert from_json(CorpusConfig, json.loads(json.dumps(to_json(config)))) == config
    names = [s.name for s in from_paths(("a/text.txt", "b/text.txt", "builtin:code", "hf:me/set:en"))]
    assert names == ["text", "text-2", "code", "set"]


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")
def test_real_web_pages(tmp_path: Path) -> None:
    sources = (
        Source(name="warc", path=str(DATA / "webarchive" / "warcfile.warc.gz")),
        Source(name="wet", path=str(DATA / "webarchive" / "whirlwind.warc.wet.gz")),
        Source(name="c4", path=str(DATA / "instructions_en" / "c4_demo.jsonl")),
    )
    artifact = run(small(*sources, languages=("en", "nl", "zh", "an")), Context(), out=tmp_path / "out")
    documents = [*read_documents(artifact, "train"), *read_documents(artifact, "validation")]
    assert {d.source for d in documents} == {"warc", "wet", "c4"}
    assert {d.meta["url"] for d in documents if d.source == "wet"} == {"https://an.wikipedia.org/wiki/Escopete"}
