"""The reader of every stage: bad rows are counted and named, other column names are mapped."""

import json
from pathlib import Path
from typing import Any

import pytest

from kaiwa.core.errors import UserError
from kaiwa.text.data import DataOptions, read_comparisons, read_demonstrations, read_prompts
from kaiwa.text.records import Message


def write(folder: Path, rows: list[Any]) -> Path:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


GOOD = {"prompt": "p", "completion": "c"}


def test_few_bad_rows_are_counted_by_reason_and_many_refuse_the_file(tmp_path: Path) -> None:
    lines: list[str] = []
    file = write(tmp_path, [*[GOOD] * 97, {"prompt": "p"}, {"prompt": 3, "completion": "c"}, {"prompt": "p"}])
    kept = list(read_demonstrations(file, lines.append, DataOptions(bad_share=0.03)))
    assert [one.number for one in kept] == list(range(1, 98))
    assert len(lines) == 2
    assert lines[0].startswith(f"{file}: 2 of 100 rows left out, the first is {file}:98: no conversation in it")
    assert f"{file}:99: prompt: a list" in lines[1]
    with pytest.raises(UserError, match=r"rows.jsonl:98: .*; 3 of 100 rows are no records, more than bad_share 0.02"):
        list(read_demonstrations(file, lines.append))
    with pytest.raises(UserError, match=r'no comparison in it; {"prompt", "chosen", "rejected"} or'):
        list(read_comparisons(write(tmp_path, []), lines.append))


def test_columns_of_other_names(tmp_path: Path) -> None:
    file = write(tmp_path, [{"q": "2 + 2?", "data": {"a": "4"}, "prompt": "unused"}])
    options = DataOptions(map=("prompt=q", "completion=data.a"))
    (one,) = read_demonstrations(file, print, options)
    assert one.record.messages == (Message("user", "2 + 2?"), Message("assistant", "4"))
    with pytest.raises(UserError, match=r"rows.jsonl:1: b: no such column; there is q, data, prompt"):
        list(read_prompts(file, print, DataOptions(map=("prompt=b",))))
    with pytest.raises(UserError, match="map 'prompt': give NAME=COLUMN"):
        DataOptions(map=("prompt",))
    with pytest.raises(UserError, match="bad_share is 2"):
        DataOptions(bad_share=2)


def test_the_files_of_a_folder_are_named(tmp_path: Path) -> None:
    write(tmp_path, [GOOD])
    lines: list[str] = []
    assert len(list(read_prompts(tmp_path, lines.append))) == 1
    assert lines == [f"{tmp_path}: 1 file read: rows.jsonl"]
