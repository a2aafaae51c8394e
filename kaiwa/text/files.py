"""Rows of data files of other people: JSON, JSONL, CSV, Parquet, Arrow, each also gzipped, and Hugging Face folders.

The content decides, not the name: a list under .jsonl and objects line by line under .json are read. A row that cannot
be read is yielded with its fault, so that the reader counts it; a file that cannot be read at all is a UserError.
Parquet and Arrow need pyarrow, all else the standard library.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from kaiwa.core.errors import UserError

KINDS = ("parquet", "arrow", "jsonl", "ndjson", "json", "csv", "tsv")  # of files in a folder, the likeliest first
TABLES = ("data", "train", "rows", "examples", "records", "instances")  # keys that hold a JSON file's rows
HELD_OUT = ("test", "validation", "valid", "val", "dev", "eval")
NO_DATA = ("dataset_info.json", "dataset_dict.json", "dataset_infos.json", "state.json", "config.json")
UTF16 = (b"\xff\xfe", b"\xfe\xff")
EXPECTED = "JSON, JSONL, CSV, Parquet or Arrow is expected, also gzipped, or a folder of such files"


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its number in all files together, from 1, and its value, or what is wrong with it. place: for errors."""

    number: int
    place: str
    value: Any = None
    fault: str = ""


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file, or of the training files of a folder in the order of their names.

    UserError for a missing path, a folder without data, and a file of no known kind.
    """
    number = 0
    for file in data_files(path):
        for value, fault, line in _rows(file):
            number += 1
            yield Row(number, f"{file}:{line}" if line else f"{file}, record {number}", value, fault)


def data_files(path: Path) -> list[Path]:
    """Return the file itself, or a folder's data files of one kind and of the training split, where it has splits."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path}: no such file or folder; {EXPECTED}")
    by_kind: dict[str, list[Path]] = {}
    for file in sorted(path.rglob("*")):
        kind = file.name.removesuffix(".gz").rpartition(".")[2].lower()
        hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        if kind in KINDS and file.name not in NO_DATA and not hidden and file.is_file():
            by_kind.setdefault(kind, []).append(file)
    files = next((by_kind[kind] for kind in KINDS if kind in by_kind), [])
    named = [file for file in files if _is_of(file.relative_to(path), ("train",))]
    files = named or [file for file in files if not _is_of(file.relative_to(path), HELD_OUT)] or files
    if not files:
        raise UserError(f"{path}: no data in this folder; {EXPECTED}")
    return files


def _is_of(file: Path, splits: Iterable[str]) -> bool:
    """Return whether a file's name or one of its folders begins with a split's name, as `train-00000-of-00002`."""
    words = [part.lower().replace("_", "-").replace(".", "-").split("-") for part in file.parts]
    return any(split in word for word in words for split in splits)


def _rows(file: Path) -> Iterator[tuple[Any, str, int]]:
    """Yield (value, fault, line) of a file's rows; line is 0 where rows are not lines."""
    try:
        with open(file, "rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            source: IO[bytes] = gzip.GzipFile(fileobj=raw) if packed else raw  # type: ignore[assignment]
            head = source.read(6)
            source.seek(0)
            if head[:4] == b"PAR1":
                yield from ((value, "", 0) for value in _parquet(file))
            elif file.suffix == ".arrow" or head == b"ARROW1":
                yield from ((value, "", 0) for value in _arrow(file))
            elif file.name.removesuffix(".gz").endswith((".csv", ".tsv")):
                yield from _csv(file, _text(file, source.read()))
            else:
                yield from _json(file, source)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        yield None, f"the compressed file breaks off or is damaged ({error}); download it again", 0
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror or error})") from None


def _text(file: Path, data: bytes) -> str:
    try:
        return data.decode("utf-16" if data[:2] in UTF16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(f"{file}:{line}: not UTF-8; save the file as UTF-8") from None


def _json(file: Path, source: IO[bytes]) -> Iterator[tuple[Any, str, int]]:
    """Yield the rows of a JSON list, of a JSON object that holds them, or of JSON objects line by line."""
    number, first = 0, b""
    while not first.strip() and (line := source.readline()):
        number, first = number + 1, line.removeprefix(b"\xef\xbb\xbf")
    if first[:2] in UTF16:
        lines = _text(file, first + source.read()).encode()
        yield from _json(file, io.BytesIO(lines))
        return
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        yield from _whole(file, first, source, number)
        return
    rest = list(itertools.islice((line for line in source if line.strip()), 1))
    if not rest:
        table = _table(value)
        yield from ((row, "", number if row is value else 0) for row in table)
        return
    yield value, "", number
    yield from _lines(itertools.chain(rest, source), number + 1)


def _whole(file: Path, first: bytes, source: IO[bytes], number: int) -> Iterator[tuple[Any, str, int]]:
    """Yield the rows of one JSON value of many lines; where there is none, of lines whose first is broken."""
    if not first.strip():
        return
    if first.lstrip()[:1] not in (b"[", b"{"):
        raise UserError(f"{file}: of no known kind; {EXPECTED}")
    data = first + source.read()
    try:
        yield from ((row, "", 0) for row in _table(json.loads(_text(file, data))))
    except (json.JSONDecodeError, RecursionError) as error:
        if first.strip() in (b"[", b"{"):
            raise UserError(f"{file}: not JSON ({error}); {EXPECTED}") from None
        yield from _lines(data.splitlines(keepends=True), number)


def _lines(lines: Iterable[bytes], first: int) -> Iterator[tuple[Any, str, int]]:
    """Yield the JSON value of each line that is not empty; `first` is the number of the first line."""
    for number, line in enumerate(lines, first):
        if not line.strip():
            continue
        try:
            yield json.loads(line.decode("utf-8")), "", number
        except UnicodeDecodeError:
            yield None, "not UTF-8; save the file as UTF-8", number
        except json.JSONDecodeError as error:
            yield None, f"not JSON ({error.msg}); one object a line is expected", number
        except RecursionError:
            yield None, "not JSON (nested too deep); one object a line is expected", number


def _table(value: Any) -> list[Any]:
    """Return the rows of a JSON value: a list, an object with a list of rows, an object of columns, or one row."""
    if isinstance(value, list):
        return [value] if value and all(isinstance(v, dict) and v.keys() & {"role", "from"} for v in value) else value
    if isinstance(value, Mapping):
        for name in TABLES:
            if isinstance(value.get(name), list) and all(isinstance(row, dict) for row in value[name]):
                return list(value[name])
        columns = list(value.values())
        plain = all(isinstance(c, list) and not any(isinstance(item, dict) for item in c) for c in columns)
        if columns and plain and len({len(c) for c in columns}) == 1:
            return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]
    return [value]


def _csv(file: Path, text: str) -> Iterator[tuple[Any, str, int]]:
    """Yield the rows of a table with a header; an empty cell is None."""
    csv.field_size_limit(1 << 24)
    first = text.partition("\n")[0]
    marks = {mark: first.count(mark) for mark in (",", "\t", ";")}
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(marks, key=lambda mark: marks[mark]))
    header = [name.strip() for name in next(reader, [])]
    if not header:
        raise UserError(f"{file}: empty; {EXPECTED}")
    try:
        for cells in reader:
            if len(cells) == len(header):
                yield dict(zip(header, (cell or None for cell in cells), strict=True)), "", reader.line_num
            elif cells:
                yield None, f"{len(cells)} cells under {len(header)} columns; quote texts with commas", reader.line_num
    except csv.Error as error:
        yield None, f"no CSV ({error})", reader.line_num


def _parquet(file: Path) -> Iterator[Any]:
    arrow = _pyarrow(file)
    try:
        with arrow.parquet.ParquetFile(file) as source:
            for batch in source.iter_batches(batch_size=1024):
                yield from batch.to_pylist()
    except arrow.ArrowException as error:
        raise UserError(f"{file}: a damaged Parquet file ({str(error).partition(chr(10))[0]}); download it") from None


def _arrow(file: Path) -> Iterator[Any]:
    arrow = _pyarrow(file)
    try:
        with arrow.memory_map(str(file)) as source:
            try:
                batches = arrow.ipc.open_stream(source)
            except arrow.ArrowInvalid:
                table = arrow.ipc.open_file(source)
                batches = (table.get_batch(i) for i in range(table.num_record_batches))
            for batch in batches:
                yield from batch.to_pylist()
    except arrow.ArrowException as error:
        raise UserError(f"{file}: a damaged Arrow file ({str(error).partition(chr(10))[0]}); download it") from None


def _pyarrow(file: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError:
        raise UserError(
            f"{file}: Parquet and Arrow are read by pyarrow; `pip install pyarrow`, or give JSONL"
        ) from None
    return pyarrow
