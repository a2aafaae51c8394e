"""Bad input: one clear line each, and nothing else is lost."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from corpus_texts import prose

from kaiwa.core.artifact import Artifact
from kaiwa.core.context import Context
from kaiwa.core.errors import UserError
from kaiwa.corpus.config import CorpusConfig, Dedup, Source
from kaiwa.corpus.problems import Problems
from kaiwa.corpus.read import decode, split_text
from kaiwa.corpus.run import run
from kaiwa.text.documents import read_documents

Build = Callable[..., tuple[Artifact, list[str]]]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    good = tmp_path / "good.txt"
    good.write_text("\n\n".join(prose(i) for i in range(60)), encoding="utf-8")

    def run_it(path: Path | str, **changes: object) -> tuple[Artifact, list[str]]:
        said: list[str] = []
        sources = (Source(name="good", path=str(good)), Source(name="bad", path=str(path)))
        config = replace(CorpusConfig(sources=sources, min_train_bytes=100, workers=1), **changes)  # type: ignore[arg-type]
        return run(config, Context(say=said.append), out=tmp_path / "out"), said

    return run_it


def warc(*pages: str) -> bytes:
    records = []
    for i, page in enumerate(pages):
        http = f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{page}".encode()
        head = (
            f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:{i}>\r\nWARC-Date: 2026-01-01T00:00:00Z\r\n"
            f"WARC-Target-URI: http://example.org/{i}\r\nContent-Type: application/http; msgtype=response\r\n"
            f"Content-Length: {len(http)}\r\n\r\n"
        )
        records.append(head.encode() + http + b"\r\n\r\n")
    return b"".join(gzip.compress(r) for r in records)


def page(i: int) -> str:
    return f"<html><body><article><p>{prose(900 + i, 12)}</p></article></body></html>"


def test_missing_path(build: Build, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"source bad: .*nowhere does not exist"):
        build(tmp_path / "nowhere")


def test_empty_folder(build: Build, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="the folder is empty"):
        build(tmp_path / "empty")
    (tmp_path / "empty" / "x.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"none of its 1 files.*\.jsonl"):
        build(tmp_path / "empty")


def test_unknown_suffix(build: Build, tmp_path: Path) -> None:
    (tmp_path / "x.jsnl").write_text("")
    with pytest.raises(UserError, match=r"'\.jsnl' cannot be read; did you mean '\.jsonl'"):
        build(tmp_path / "x.jsnl")


def test_unknown_builtin() -> None:
    with pytest.raises(UserError, match="builtin:doc' is unknown"):
        Source(name="x", path="builtin:doc")


def test_broken_utf8_is_repaired_and_counted(build: Build, tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes(prose(1).encode() + b" and \xff\xfe then " + prose(2).encode())
    artifact, said = build(tmp_path / "b.txt")
    assert artifact.metrics["problems"] == {"broken_utf8": 1}
    assert len(said) == 1
    assert "b.txt: 2 places are not UTF-8" in said[0]
    assert any(d.source == "bad" for s in ("train", "validation") for d in read_documents(artifact, s))


def test_another_encoding_is_said() -> None:
    said: list[str] = []
    problems = Problems(said.append)
    text = "村のパン屋は朝四時に起きます。六時には棚にパンが並びます。" * 5
    assert decode(text.encode("cp932"), "old.txt", problems) == text
    assert "old.txt: is not UTF-8, read as" in said[0]
    assert decode("\ufeffhi".encode(), "x", problems) == "hi"
    assert decode("hi".encode("utf-16"), "x", problems) == "hi"


def test_bad_json_lines_are_counted_and_the_rest_goes_on(build: Build, tmp_path: Path) -> None:
    lines = [f'{{"text": "{prose(i)}"}}' for i in range(5)]
    lines[2:2] = ['{"text": "cut off', '["no", "object"]', '{"txt": "wrong field"}']
    (tmp_path / "b.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    artifact, said = build(tmp_path / "b.jsonl")
    assert artifact.metrics["problems"] == {"bad_json_line": 3}
    assert said[0].startswith(f"{tmp_path / 'b.jsonl'}:3: not JSON")
    assert said[1] == f"{tmp_path / 'b.jsonl'}: 3 problems of this kind (bad json line)"
    n = sum(d.source == "bad" for s in ("train", "validation") for d in read_documents(artifact, s))
    assert n == 5


def test_strict_stops_at_the_first_bad_line(build: Build, tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text('{"text": "x"}\nnothing\n')
    with pytest.raises(UserError, match=r"b\.jsonl:2: not JSON.*--strict"):
        build(tmp_path / "b.jsonl", strict=True)


def test_wrong_field_is_suggested(build: Build, tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text('{"texts": "x"}\n')
    with pytest.raises(UserError, match="did you mean 'texts'"):
        build(tmp_path / "b.jsonl", strict=True)


@pytest.mark.parametrize("cut", [9, 40, 300, 700])
def test_truncated_warc_keeps_what_is_whole(build: Build, tmp_path: Path, cut: int) -> None:
    data = warc(page(0), page(1), page(2))
    (tmp_path / "b.warc.gz").write_bytes(data[:-cut])
    artifact, said = build(tmp_path / "b.warc.gz")
    kept = [d.meta["url"] for s in ("train", "validation") for d in read_documents(artifact, s) if d.source == "bad"]
    assert sorted(kept)[:1] == ["http://example.org/0"]
    assert len(kept) == (3 if cut == 9 else 2 if cut < 700 else len(kept))
    assert len(said) == 1
    assert "b.warc.gz" in said[0]
    assert artifact.metrics["problems"] == {"truncated_warc": 1}


def test_uncompressed_warc(build: Build, tmp_path: Path) -> None:
    (tmp_path / "b.warc").write_bytes(gzip.decompress(warc(page(0), page(1))))
    artifact, said = build(tmp_path / "b.warc")
    assert said == []
    assert artifact.metrics["documents"]["dropped"] == 0


def test_garbage_is_no_warc(build: Build, tmp_path: Path) -> None:
    (tmp_path / "b.warc").write_bytes(b"this is no archive\n" * 20)
    with pytest.raises(UserError, match="holds no document"):
        build(tmp_path / "b.warc")


def test_no_parquet(build: Build, tmp_path: Path) -> None:
    (tmp_path / "b.parquet").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="not a Parquet file"):
        build(tmp_path / "b.parquet")


def test_too_small_to_train_on(build: Build, tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("tiny")
    with pytest.raises(UserError, match=r"at least 1,000,000 are needed \(dropped: 1 too_short\)"):
        build(tmp_path / "b.txt", min_train_bytes=1_000_000)


def test_a_repeated_id_is_renamed(build: Build, tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text("".join(f'{{"id": "same", "text": "{prose(i)}"}}\n' for i in range(3)))
    artifact, _ = build(tmp_path / "b.jsonl")
    ids = {d.id for s in ("train", "validation") for d in read_documents(artifact, s) if d.source == "bad"}
    assert ids == {"same", "same~2", "same~3"}
    assert artifact.metrics["problems"] == {"repeated_id": 2}


def test_long_text_is_cut_at_paragraphs() -> None:
    text = "\n\n".join(prose(i) for i in range(50))
    pieces = split_text(text, 2000)
    assert "".join(pieces) == text
    assert all(2000 <= len(p) < 3000 for p in pieces[:-1])
    lines = "\n".join(prose(i) for i in range(50))
    assert "".join(split_text(lines, 2000)) == lines
    assert len(split_text(lines, 2000)) > 5
    assert split_text("x" * 100, 200) == ["x" * 100]


@pytest.mark.parametrize("change", [{"validation_share": 0.7}, {"workers": -1}, {"sources": ()}, {"split_chars": 1}])
def test_config_names_field_value_and_fix(change: dict[str, object]) -> None:
    with pytest.raises(UserError, match=next(iter(change))):
        replace(CorpusConfig(), **change)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="threshold"):
        Dedup(threshold=0)
