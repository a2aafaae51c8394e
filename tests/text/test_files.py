"""Rows of files of every kind: by content, not by name; a fault costs its row or names its file."""

import gzip
import json
from pathlib import Path

import pytest

from kaiwa.core.errors import UserError
from kaiwa.text.files import data_files, read_rows

ROWS = [{"prompt": "one", "completion": "1"}, {"prompt": "zwei ü", "completion": "2\u2028b"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
CONTENTS = {
    "lines.jsonl": LINES.encode(),
    "lines.json": LINES.encode(),  # lines under the other name
    "list.jsonl": json.dumps(ROWS).encode(),
    "pretty.json": json.dumps(ROWS, indent=2).encode(),
    "bom.jsonl": b"\xef\xbb\xbf\n" + LINES.replace("\n", "\r\n").encode(),
    "wide.json": json.dumps(ROWS, ensure_ascii=False).encode("utf-16"),
    "held.json": json.dumps({"version": 1, "data": ROWS}).encode(),
    "columns.json": json.dumps({k: [r[k] for r in ROWS] for k in ROWS[0]}, indent=1).encode(),
    "packed.jsonl.gz": gzip.compress(LINES.encode()),
    "packed_under_a_plain_name.jsonl": gzip.compress(LINES.encode()),
    "table.csv": 'prompt,completion\none,1\n"zwei ü","2\u2028b"\n'.encode(),
    "table.tsv": "prompt\tcompletion\none\t1\nzwei ü\t2\u2028b\n".encode(),
    "semicolons.csv": "\ufeffprompt;completion\none;1\nzwei ü;2\u2028b\n".encode(),
    "table.csv.gz": gzip.compress("prompt,completion\none,1\nzwei ü,2\u2028b\n".encode()),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_one_table_in_every_dress(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(CONTENTS[name])
    rows = list(read_rows(file))
    assert [row.value for row in rows] == ROWS
    assert [row.number for row in rows] == [1, 2]
    assert not any(row.fault for row in rows)


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_parquet_and_arrow(kind: str, tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    table, file = pyarrow.Table.from_pylist(ROWS), tmp_path / f"data-00000-of-00001.{kind}"
    if kind == "parquet":
        parquet.write_table(table, file)
    else:
        with pyarrow.OSFile(str(file), "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    assert [row.value for row in read_rows(file)] == ROWS
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(UserError, match=f"a damaged {kind.title()} file"):
        list(read_rows(file))


def test_a_pretty_object_is_one_row_and_a_list_of_messages_too(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    file = tmp_path / "talk.json"
    file.write_text(json.dumps({"id": 1, "messages": talk}, indent=4))
    assert [row.value for row in read_rows(file)] == [{"id": 1, "messages": talk}]
    file.write_text(json.dumps(talk))
    assert [row.value for row in read_rows(file)] == [talk]
    file.write_text(json.dumps([talk, talk]))
    assert [row.value for row in read_rows(file)] == [talk, talk]


def test_a_broken_line_costs_itself(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"a": 1}\n{"a": \n\n{"a": "caf\xe9"}\n{"a": 4}')
    rows = list(read_rows(file))
    assert [row.value for row in rows] == [{"a": 1}, None, None, {"a": 4}]
    assert rows[1].place == f"{file}:2"
    assert "one object a line is expected" in rows[1].fault
    assert rows[2].place == f"{file}:4"
    assert "not UTF-8" in rows[2].fault
    file.write_bytes(b'{"a": \n{"a": 2}\n')
    assert [row.value for row in read_rows(file)] == [None, {"a": 2}]
    table = tmp_path / "a.csv"
    table.write_text("prompt,completion\na,b\na,b, and c\n,x\n")
    rows = list(read_rows(table))
    assert [row.value for row in rows] == [
        {"prompt": "a", "completion": "b"}, None, {"prompt": None, "completion": "x"}
    ]  # fmt: skip
    assert rows[1].fault == "3 cells under 2 columns; quote texts with commas"


def test_a_cut_gzip_gives_what_is_left_of_it(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl.gz"
    whole = gzip.compress("".join(json.dumps({"a": i, "b": str(i * 7919)}) + "\n" for i in range(5000)).encode())
    file.write_bytes(whole[: len(whole) // 2])
    rows = list(read_rows(file))
    assert len(rows) > 100
    assert "the compressed file breaks off" in rows[-1].fault


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"Once upon a time\n", "of no known kind; JSON, JSONL, CSV"),
        (b"[\n 1,\n", "not JSON"),
        (b'{\n "a": 1,\n "b" 2}\n', "not JSON"),
        (b"PAR1 and no more", "a damaged Parquet file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(data: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(data)
    with pytest.raises(UserError, match=rf"x\.json: {message}"):
        list(read_rows(file))
    with pytest.raises(UserError, match="no such file or folder"):
        list(read_rows(tmp_path / "y.json"))


def test_a_dataset_folder_gives_its_training_files(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / ".cache").mkdir()
    for name in ("data/train-00001-of-00002.jsonl", "data/train-00000-of-00002.jsonl", "data/test-00000.jsonl",
                 "dataset_info.json", "README.md", ".cache/train.jsonl", "notes.csv"):  # fmt: skip
        (tmp_path / name).write_text(json.dumps({"a": name}) + "\n")
    names = [file.name for file in data_files(tmp_path)]
    assert names == ["train-00000-of-00002.jsonl", "train-00001-of-00002.jsonl"]
    assert [row.number for row in read_rows(tmp_path)] == [1, 2]
    (tmp_path / "dialogues").mkdir()
    for number in (2, 1):
        (tmp_path / "dialogues" / f"{number}.json").write_text(json.dumps({"id": number}, indent=1))
    assert [row.value["id"] for row in read_rows(tmp_path / "dialogues")] == [1, 2]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no data in this folder"):
        data_files(tmp_path / "empty")
