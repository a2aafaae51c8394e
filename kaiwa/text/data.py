"""Records from files: the one way in which every stage, command and the fine-tuning API reads data.

A row that is no record is counted by its reason and left out; past a share of `bad_share` of all rows the file is
refused, with the first such row, its faulty field, and the shape expected.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from kaiwa.core.errors import UserError
from kaiwa.text import shapes
from kaiwa.text.files import Row, data_files, read_rows
from kaiwa.text.records import Comparison, Conversation, Demonstration

T = TypeVar("T")
LengthPolicy = Literal["drop", "left", "right", "turns"]
MOST_REASONS = 5  # that are listed


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions:
    """How a stage reads its files."""

    map: tuple[str, ...] = ()  # other names of columns, as prompt=question,completion=answer
    bad_share: float = 0.02  # share of the rows that may be no records before a file is refused
    # of what is too long: leave it out, cut its beginning (left) or its end (right), or drop its oldest turns
    max_length_policy: LengthPolicy = "drop"

    def __post_init__(self) -> None:
        for pair in self.map:
            if not all(pair.partition("=")[::2]):
                raise UserError(f"map {pair!r}: give NAME=COLUMN, as prompt=question")
        if not 0 <= self.bad_share <= 1:
            raise UserError(f"bad_share is {self.bad_share}; it must be a share, 0 to 1")


PLAIN = DataOptions()


class Numbered(NamedTuple, Generic[T]):
    """A record with its row's number in the file, from 1."""

    number: int
    record: T


def read_demonstrations(
    path: Path, say: Callable[[str], None], options: DataOptions = PLAIN
) -> Iterator[Numbered[Demonstration]]:
    """Yield the demonstrations of a file or folder. UserError for a path without any, or with too many bad rows."""
    return _read(path, shapes.demonstration_of, "demonstration", shapes.DEMONSTRATION, say=say, options=options)


def read_comparisons(
    path: Path, say: Callable[[str], None], options: DataOptions = PLAIN
) -> Iterator[Numbered[Comparison]]:
    """Yield the comparisons of a file or folder. UserError for a path without any, or with too many bad rows."""
    return _read(path, shapes.comparison_of, "comparison", shapes.COMPARISON, say=say, options=options)


def read_prompts(
    path: Path, say: Callable[[str], None], options: DataOptions = PLAIN
) -> Iterator[Numbered[Conversation]]:
    """Yield the prompts of a file or folder. UserError for a path without any, or with too many bad rows."""
    return _read(path, shapes.prompt_of, "prompt", shapes.PROMPTS, say=say, options=options)


def _read(
    path: Path,
    of: Callable[[Any], T],
    kind: str,
    expected: str,
    *,
    say: Callable[[str], None],
    options: DataOptions,
) -> Iterator[Numbered[T]]:
    bad: dict[str, list[str]] = {}
    n = 0
    if path.is_dir():
        files = data_files(path)
        names = ", ".join(file.name for file in files[:3]) + (", …" if len(files) > 3 else "")
        say(f"{path}: {len(files)} file{'s' * (len(files) > 1)} read: {names}")
    for row in read_rows(path):
        n += 1
        try:
            yield Numbered(row.number, record_of(row, of, options.map))
        except UserError as error:
            bad.setdefault(re.sub(r"\d+", "#", str(error)), []).append(f"{row.place}: {error}")
    n_bad = sum(map(len, bad.values()))
    if not n:
        raise UserError(f"{path}: no {kind} in it; {expected} is expected, one a row")
    if n_bad > options.bad_share * n:
        first = next(iter(bad.values()))[0]
        count = f"{n_bad} of {n} rows are no records" if n_bad > 1 else f"1 of {n} rows is no record"
        raise UserError(f"{first}; {count}, more than bad_share {options.bad_share:g} allows. {expected} is expected")
    for places in list(bad.values())[:MOST_REASONS]:
        say(f"{path}: {len(places)} of {n} rows left out, the first is {places[0]}")


def record_of(row: Row, of: Callable[[Any], T], names: Sequence[str] = ()) -> T:
    """Return a row's record after renaming its columns. UserError with the field at fault."""
    if row.fault:
        raise UserError(row.fault)
    return of(renamed(row.value, names) if names else row.value)


def renamed(value: Any, names: Sequence[str]) -> Any:
    """Return a row with the columns NAME=COLUMN under their new names; a dotted COLUMN lies inside another.

    The names replace what the row has of the same names. UserError for a column that is not there.
    """
    if not isinstance(value, Mapping):
        return value
    moved: dict[str, Any] = {}
    columns = set()
    for pair in names:
        name, _, column = pair.partition("=")
        inner: Any = value
        for part in [column] if column in value else column.split("."):
            if not isinstance(inner, Mapping) or part not in inner:
                raise UserError(f"{column}: no such column; there is {', '.join(map(str, value))[:100]}")
            inner = inner[part]
        moved[name] = inner
        columns.add(column)
    return {**{k: v for k, v in value.items() if k not in columns}, **moved}
