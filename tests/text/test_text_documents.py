"""Documents as Parquet and as records: read back as written, and refused by file and record."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaiwa.core.artifact import Artifact
from kaiwa.core.errors import UserError
from kaiwa.text.documents import read_documents, read_records, write_documents
from kaiwa.text.records import Document

documents = st.builds(
    Document, text=st.text(max_size=20), source=st.text(max_size=5), language=st.sampled_from(["en", "ja", "code"]),
    id=st.text(max_size=5), meta=st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=2),
)  # fmt: skip


@settings(max_examples=20)
@given(st.lists(documents, max_size=4))
def test_parquet_gives_back_what_was_written(rows: list[Document]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        write_documents(Path(folder) / "train.parquet", rows)
        assert list(read_documents(Path(folder))) == rows
        assert list(read_documents(Artifact(Path(folder), {}), "train")) == rows


def test_the_same_documents_are_the_same_bytes_with_columns_of_ones_own(tmp_path: Path) -> None:
    rows = [Document(text=f"text {i}", source="docs", meta={"b": 1, "a": i}) for i in range(5)]
    for name in ("one", "two"):
        write_documents(tmp_path / name, rows, {"reason": ["short"] * 5})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    from pyarrow import parquet

    table = parquet.read_table(tmp_path / "one")
    assert table.column_names == ["text", "source", "language", "id", "meta", "reason"]
    assert table.column("reason").to_pylist() == ["short"] * 5
    assert table.column("meta").to_pylist()[3] == '{"a": 3, "b": 1}'  # keys in order


def test_splits_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="split 'test' is unknown; use train or validation"):
        list(read_documents(tmp_path, "test"))
    with pytest.raises(UserError, match=r"validation.parquet: missing; give a folder that `kaiwa corpus` published"):
        list(read_documents(tmp_path, "validation"))


def write(folder: Path, *rows: Any) -> Path:
    file = folder / "notes.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_a_record_needs_no_more_than_a_text(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "hi"}]
    file = write(tmp_path, {"text": "a"}, {"text": "b", "source": "s", "language": "ja", "id": 7, "meta": None},
                 {"text": "c", "meta": {"messages": messages}})  # fmt: skip
    first, second, third = read_records(file)
    assert first == Document(text="a", source="notes", language="", id="notes.jsonl#1", meta={})
    assert second == Document(text="b", source="s", language="ja", id="7", meta={})
    assert third.meta == {"messages": messages}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"content": "b"}, 'record 2 has no "text"'),
        ({"text": 5}, 'record 2 has no "text"'),
        ({"text": "b", "meta": {"messages": []}}, "notes.jsonl: record 2: messages must be a non-empty list"),
        ({"text": "b", "meta": {"messages": [{"role": "king", "content": ""}]}}, "record 2: role 'king' is unknown"),
        ({"text": "b", "meta": ["messages"]}, "record 2: meta must be an object"),
        ({"text": "b", "meta": 5}, "record 2: meta must be an object"),
    ],
)
def test_a_bad_record_is_named_by_file_and_number(row: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        list(read_records(write(tmp_path, {"text": "a"}, row)))
