"""Anybody's evaluation logs as pairs: JSONL with {"id","correct"} or {"id","score"}, ids in any order.

A record whose value is null, or that says "failed": true, failed: a failed record is no pair and never counts as wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.stats.comparison import PairedComparison, compare
from kaiwa.stats.failures import withhold_for_failures
from kaiwa.text.records import read_jsonl


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """values: id -> score. failed: ids of failed records. clusters: id -> cluster, where records have the field."""

    values: Mapping[str, float]
    failed: tuple[str, ...] = ()
    clusters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPair:
    """The items of both logs, in sorted order of id, and the ids found in only one log."""

    ids: tuple[str, ...]
    a: tuple[float, ...]
    b: tuple[float, ...]
    clusters: tuple[str, ...] | None
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    failed: tuple[str, ...]

    def compare(self, margin: float = 0.03) -> PairedComparison:
        compared = compare(self.a, self.b, clusters=self.clusters, margin=margin)
        return withhold_for_failures(compared, self.a, self.b, len(self.failed), clusters=self.clusters)

    @property
    def ids_of_one(self) -> list[str]:
        """The ids found in only one log."""
        return [*self.only_a, *self.only_b]


def read_log(path: Path, cluster: str = "") -> Log:
    """Read one log. `cluster`: the field that groups records which are not independent.

    UserError with file, record and id for an invalid record, and for an id that repeats.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a JSONL log of {{'id', 'correct'}} or {{'id', 'score'}}")
    values: dict[str, float] = {}
    clusters: dict[str, str] = {}
    failed: dict[str, None] = {}
    for i, row in enumerate(read_jsonl(path), 1):
        where = f"{path}, record {i}"
        id = row.get("id")
        if not isinstance(id, str | int) or isinstance(id, bool):
            raise UserError(f"{where}: no 'id'; each record needs an id (text or a whole number)")
        id = str(id)
        if id in values or id in failed:
            raise UserError(f"{where}: the id {id!r} occurs twice; average the samples of an item first")
        value = _value(row, f"{where} (id {id!r})")
        if value is None:
            failed[id] = None
        else:
            values[id] = value
        if cluster:
            if cluster not in row:
                raise UserError(f"{where} (id {id!r}): no field {cluster!r}, by which --cluster groups")
            clusters[id] = str(row[cluster])
    if not values:
        raise UserError(f"{path}: no record with a result; there is nothing to compare")
    return Log(values=values, failed=tuple(failed), clusters=clusters)


def _value(row: Mapping[str, Any], where: str) -> float | None:
    if row.get("failed") is True:
        return None
    name = "correct" if "correct" in row else "score"
    if name not in row:
        raise UserError(f"{where}: neither 'correct' nor 'score'")
    value = row[name]
    if value is None:
        return None
    if not isinstance(value, bool | int | float) or not math.isfinite(value):
        raise UserError(f"{where}: {name} is {value!r}; it must be a number, true or false")
    if name == "correct" and value not in (0, 1):
        raise UserError(f"{where}: correct is {value!r}; it must be true or false (use 'score' for other numbers)")
    return float(value)


def match(a: Log, b: Log) -> LogPair:
    """Pair two logs by id. UserError where no id is in both, and where their clusters differ."""
    failed = {*a.failed, *b.failed}
    ids = sorted(a.values.keys() & b.values.keys())
    if not ids:
        example = f"{min(a.values)!r} and {min(b.values)!r}"
        raise UserError(f"no id is in both logs (they have ids such as {example}); the same items need the same ids")
    if any(a.clusters.get(id) != b.clusters.get(id) for id in ids):
        wrong = next(id for id in ids if a.clusters.get(id) != b.clusters.get(id))
        raise UserError(
            f"id {wrong!r} is in cluster {a.clusters[wrong]!r} in one log, {b.clusters[wrong]!r} in the other"
        )
    return LogPair(
        ids=tuple(ids),
        a=tuple(a.values[id] for id in ids),
        b=tuple(b.values[id] for id in ids),
        clusters=tuple(a.clusters[id] for id in ids) if a.clusters else None,
        only_a=tuple(sorted(a.values.keys() - b.values.keys() - failed)),
        only_b=tuple(sorted(b.values.keys() - a.values.keys() - failed)),
        failed=tuple(sorted(failed)),
    )
