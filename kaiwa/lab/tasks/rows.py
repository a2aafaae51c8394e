"""Rows of users' files: JSONL, JSON, CSV, TSV, Parquet, in the encodings that spreadsheets write.

Each row comes with its place, "tickets.csv:12", for messages. A row that does not fit the heading is refused, never
filled up: a shifted column would be graded as an answer.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.text.records import read_jsonl

Row = dict[str, Any]
BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
JAPANESE = re.compile(r"[぀-ヿ一-鿿]")
KINDS = ".jsonl, .json, .csv, .tsv or .parquet"


def read_rows(path: Path) -> list[Row]:
    """Read a file's rows. UserError names the file, and the line of a row that does not fit."""
    return [row for _, row in read_placed_rows(path)]


def read_placed_rows(path: Path) -> list[tuple[str, Row]]:
    """Read a file's rows, each with its place as text. Errors as in `read_rows`."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.suffix in (".csv", ".tsv"):
        return list(_read_table(path))
    if path.suffix in (".jsonl", ".ndjson"):
        rows = list(read_jsonl(path))
    elif path.suffix == ".parquet":
        rows = _read_parquet(path)
    elif path.suffix == ".json":
        rows = _read_json(path)
    else:
        raise UserError(f"{path}: give {KINDS}")
    return [(f"{path}, row {i}", row) for i, row in enumerate(rows, 1)]


def read_text(path: Path) -> str:
    """Read a text file: UTF-8, UTF-16 with its mark, or Shift-JIS, which is printed. UserError for anything else."""
    data = path.read_bytes()
    for mark, encoding in BOMS:
        if data.startswith(mark):
            try:
                return data.decode(encoding)
            except UnicodeDecodeError:
                raise UserError(f"{path}: begins as {encoding} and is not; save it as UTF-8") from None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
    try:
        text = data.decode("cp932")
    except UnicodeDecodeError:
        raise UserError(f"{path}:{line}: neither UTF-8 nor Shift-JIS; save it as UTF-8") from None
    if not JAPANESE.search(text):
        raise UserError(f"{path}:{line}: not UTF-8; save it as UTF-8")
    print(f"{path}: read as Shift-JIS", file=sys.stderr)
    return text


def _read_table(path: Path) -> Iterator[tuple[str, Row]]:
    """Yield a CSV's or TSV's rows with file and line. Spaces after commas are dropped where the heading has them."""
    text = read_text(path)
    heading = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = "\t" if path.suffix == ".tsv" else ","
    if delimiter == "," and "," not in heading and (";" in heading or "\t" in heading):
        delimiter = ";" if ";" in heading else "\t"
        print(f"{path}: read with {delimiter!r} between the columns", file=sys.stderr)
    spaced = any(name.startswith(" ") for name in heading.split(delimiter)[1:])
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=spaced, strict=True)
    names: list[str] = []
    first = 1
    try:
        for row in reader:
            place, first = f"{path}:{first}", reader.line_num + 1
            if not any(cell.strip() for cell in row):
                continue
            if not names:
                names = _check_heading([cell.strip() for cell in row], place)
            elif len(row) != len(names):
                quotes = f"a {delimiter!r} inside a text needs double quotes around the text"
                hint = quotes if len(row) > len(names) else "a field is missing"
                raise UserError(f"{place}: {len(row)} fields under {len(names)} headings; {hint}")
            else:
                yield place, dict(zip(names, row, strict=True))
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: {error}; check the double quotes of this row") from None


def _check_heading(names: list[str], place: str) -> list[str]:
    for i, name in enumerate(names):
        if not name:
            raise UserError(f"{place}: column {i + 1} has no name in the heading line")
        if name in names[:i]:
            raise UserError(f"{place}: two columns are called {name!r}")
    return names


def _read_json(path: Path) -> list[Row]:
    """Read a list of objects, a list under "examples" or "data", or one object a line, as JGLUE has it."""
    try:
        value = json.loads(read_text(path))
    except json.JSONDecodeError:
        return list(read_jsonl(path))
    rows = value if isinstance(value, list) else value.get("examples", value.get("data"))
    if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
        return rows
    raise UserError(f"{path}: a list of objects is expected")


def _read_parquet(path: Path) -> list[Row]:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise UserError(f"{path}: reading Parquet needs pyarrow; install it, or save the file as JSONL") from None
    rows: list[Row] = parquet.read_table(path).to_pylist()
    return rows
