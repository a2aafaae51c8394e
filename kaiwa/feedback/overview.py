"""The owner's view of a batch: agreement, screening, position bias, length preference, flags by model, who is behind.

Figures are computed from columns of digits, so that 50,000 judgements take well under half a second.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, zip_longest
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaiwa.feedback.batch_records import Batch
from kaiwa.feedback.batch_store import BatchStore
from kaiwa.feedback.flags import split_flags
from kaiwa.stats import agreement
from kaiwa.stats.intervals import NOTHING, Interval, wilson
from kaiwa.stats.shares import clustered_shares

LEAST_SCREENED = 10  # screening items before a labeller is flagged
SOFT_LIMIT = 0.70  # a labeller is flagged whose interval lies below: the paper's screening had a soft limit of 75 %


@dataclass(frozen=True, slots=True, kw_only=True)
class LabellerState:
    """How far a labeller is. screening: agreement with the known ranks; flagged: its interval lies below SOFT_LIMIT.

    others: agreement with all other labellers on the same items. last: seconds since 1970 of the last answer.
    """

    name: str
    done: int
    skipped: int
    median_seconds: float
    last: float
    screening: Interval
    n_screened: int
    flagged: bool
    others: Interval
    revoked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The figures of a batch. matrix: (labeller, labeller) -> agreement, n counts rankings. flags: (model, flag letter)
    -> share of the model's outputs. mean_ratings: model -> (mean 1 to 7, number)."""

    n_items: int
    n_screening: int
    n_labels: int
    n_wanted: int
    labellers: tuple[LabellerState, ...]
    matrix: Mapping[tuple[str, str], Interval]
    first_shown: Interval
    longer: Interval
    ties: Interval
    flags: Mapping[tuple[str, str], Interval]
    mean_ratings: Mapping[str, tuple[float, int]]
    skips: Mapping[str, int]


@dataclass(slots=True)
class Columns:
    """A batch's judgements as columns [n]; ranks and order [n, K] where there are ranks."""

    labeller: list[str]
    item: NDArray[np.int64]
    ranks: NDArray[np.int8]
    order: NDArray[np.int8]
    known: NDArray[np.bool_]
    rows: Sequence[tuple[Any, ...]]


def overview(store: BatchStore, batch: Batch) -> Overview:
    """Return the figures of a batch as they are now."""
    columns = _columns(store, batch)
    n_items, n_screening = store.count_items(batch)
    plain = ~columns.known
    ranked = columns.ranks.shape[1] >= 2 and bool(len(columns.ranks))
    matrix, others = _agreements(columns, plain) if ranked else ({}, {})
    screening = _screening(columns) if ranked else {}
    return Overview(
        n_items=n_items,
        n_screening=n_screening,
        n_labels=int(plain.sum()),
        n_wanted=(n_items - n_screening) * batch.n_labels,
        labellers=_labellers(store, batch, columns, screening, others),
        matrix=matrix,
        first_shown=_first_shown(columns, plain) if ranked else NOTHING,
        longer=_longer(store, batch, columns, plain) if ranked else NOTHING,
        ties=_ties(columns, plain) if ranked else NOTHING,
        **_by_model(store, batch, columns),
        skips=_skips(store, batch),
    )


def own_agreement(store: BatchStore, batch: Batch, labeller: str) -> Interval:
    """Return a labeller's agreement with the others on the same items."""
    columns = _columns(store, batch)
    if columns.ranks.shape[1] < 2:
        return NOTHING
    return _agreements(columns, ~columns.known)[1].get(labeller, NOTHING)


def _columns(store: BatchStore, batch: Batch) -> Columns:
    # SQLite takes the other columns from the row of max(j.id): the newest judgement. Assignments are read in the order
    # of their ids, which is the order of the groups: so nothing is sorted.
    query = (
        "SELECT a.item_id, a.labeller, a.display, '', j.ranks, j.ratings, j.flags, j.seconds, a.done, max(j.id)"
        " FROM assignments a NOT INDEXED CROSS JOIN judgements j ON j.assignment_id = a.id"
        " WHERE a.batch_id = ? AND a.state = 'done' GROUP BY a.id"
    )
    query_known = "SELECT id, known_ranks FROM items WHERE batch_id = ? AND known_ranks > ''"
    known_ranks = {row[0]: row[1] for row in store.rows(query_known, (batch.id,))}
    rows = sorted(map(tuple, store.rows(query, (batch.id,))), key=itemgetter(0))
    labeller, item = [row[1] for row in rows], np.array([row[0] for row in rows], dtype=np.int64)
    known = np.array([row[0] in known_ranks for row in rows], dtype=bool)
    rows = [(*row[:3], known_ranks[row[0]], *row[4:]) if row[0] in known_ranks else row for row in rows]
    return Columns(labeller, item, _digits(rows, 4), _digits(rows, 2), known, rows)


def _digits(rows: Sequence[tuple[Any, ...]], column: int) -> NDArray[np.int8]:
    """Return a column of digits as [n, K]; [n, 0] where there is none."""
    text = "".join(row[column] for row in rows)
    width = len(text) // len(rows) if rows else 0
    return (np.frombuffer(text.encode(), dtype=np.uint8).reshape(len(rows), width) - 48).astype(np.int8)


def _agreements(
    columns: Columns, plain: NDArray[np.bool_]
) -> tuple[dict[tuple[str, str], Interval], dict[str, Interval]]:
    """Return agreement by pair of labellers, and of each labeller with all others.

    The rows are sorted by item: rows a step apart are compared as long as any are of one item.
    """
    index = np.flatnonzero(plain)
    signs, item = agreement.pair_signs(columns.ranks[index]), columns.item[index]
    names = sorted(set(columns.labeller))
    number = {name: n for n, name in enumerate(names)}
    person = np.array([number[columns.labeller[i]] for i in index], dtype=np.int64)
    parts: list[tuple[NDArray[np.int64], ...]] = []
    for step in range(1, len(index)):
        same = np.flatnonzero(item[step:] == item[:-step])
        if not len(same):
            break
        agree, decided = agreement.agreeing_pairs(signs[same], signs[same + step])
        parts.append((person[same], person[same + step], agree, decided, item[same]))
    if not parts:
        return {}, {}
    one, two, agree, decided, where = (np.concatenate(column) for column in zip(*parts, strict=True))
    m = len(names)
    group = np.minimum(one, two) * m + np.maximum(one, two)
    shares = clustered_shares(agree.astype(float), decided.astype(float), group, m * m)
    matrix = {(names[a], names[b]): shares[a * m + b] for a, b in combinations(range(m), 2) if shares[a * m + b].n}
    return matrix, _with_others(names, np.stack([one, two, agree, decided, where]))


def _with_others(names: Sequence[str], pairs: NDArray[np.int64]) -> dict[str, Interval]:
    """Return each labeller's agreement with all others: one cluster an item, whoever else judged it."""
    both = np.concatenate([pairs, pairs[[1, 0, 2, 3, 4]]], axis=1)
    cells, inverse = np.unique(both[4] * len(names) + both[0], return_inverse=True)
    agree, decided = (
        np.bincount(inverse, weights=both[row], minlength=len(cells)).astype(np.float64) for row in (2, 3)
    )
    shares = clustered_shares(np.asarray(agree), np.asarray(decided), cells % len(names), len(names))
    return {name: share for name, share in zip(names, shares, strict=True) if share.n}


def _screening(columns: Columns) -> dict[str, tuple[Interval, int]]:
    """Return each labeller's agreement with the known ranks, and on how many items."""
    known = _digits([row for row in columns.rows if row[3]], 3)
    index = np.flatnonzero(columns.known)
    by_name: dict[str, list[int]] = defaultdict(list)
    for n, i in enumerate(index):
        by_name[columns.labeller[i]].append(n)
    ranks = columns.ranks[index]
    return {name: (agreement.agreement(ranks[rows], known[rows]), len(rows)) for name, rows in by_name.items()}


def _shown_ranks(columns: Columns, plain: NDArray[np.bool_]) -> NDArray[np.int8]:
    return np.take_along_axis(columns.ranks, columns.order.astype(np.int64), axis=1)[plain]


def _first_shown(columns: Columns, plain: NDArray[np.bool_]) -> Interval:
    return agreement.first_shown_share(_shown_ranks(columns, plain))


def _ties(columns: Columns, plain: NDArray[np.bool_]) -> Interval:
    signs = agreement.pair_signs(columns.ranks[plain])
    n = signs.size
    return wilson(int((signs == 0).sum()), n) if n else NOTHING


def _longer(store: BatchStore, batch: Batch, columns: Columns, plain: NDArray[np.bool_]) -> Interval:
    if not plain.any():
        return NOTHING
    query = "SELECT id, lengths FROM items WHERE batch_id = ? AND known_ranks = ''"
    lengths = {row[0]: json.loads(row[1]) for row in store.rows(query, (batch.id,))}
    return agreement.longer_preferred_share(columns.ranks[plain], [lengths[i] for i in columns.item[plain].tolist()])


def _labellers(
    store: BatchStore,
    batch: Batch,
    columns: Columns,
    screening: Mapping[str, tuple[Interval, int]],
    others: Mapping[str, Interval],
) -> tuple[LabellerState, ...]:
    """Return the state of everybody who was invited or has opened an item, who is furthest behind first."""
    last: dict[str, float] = {}
    seconds: dict[str, list[float]] = defaultdict(list)
    for name, row in zip(columns.labeller, columns.rows, strict=True):
        seconds[name].append(row[7])
        last[name] = max(last.get(name, 0.0), row[8] or 0.0)
    query = "SELECT DISTINCT labeller FROM assignments WHERE batch_id = ?"
    people = [row[0] for row in store.rows(query, (batch.id,))]
    query = "SELECT labeller, count(*) FROM events WHERE batch_id = ? AND kind = 'skip' GROUP BY labeller"
    skipped = {row[0]: row[1] for row in store.rows(query, (batch.id,))}
    query = "SELECT labeller, min(revoked IS NOT NULL) FROM invitations WHERE batch_id = ? GROUP BY labeller"
    revoked = {row[0]: bool(row[1]) for row in store.rows(query, (batch.id,))}
    states = [
        LabellerState(
            name=name,
            done=len(seconds[name]),
            skipped=skipped.get(name, 0),
            median_seconds=statistics.median(seconds[name]) if seconds[name] else 0.0,
            last=last.get(name, 0.0),
            screening=screening.get(name, (NOTHING, 0))[0],
            n_screened=screening.get(name, (NOTHING, 0))[1],
            flagged=is_flagged(*screening.get(name, (NOTHING, 0))),
            others=others.get(name, NOTHING),
            revoked=revoked.get(name, False),
        )
        for name in {*people, *revoked}
    ]
    return tuple(sorted(states, key=lambda state: (state.done, state.name)))


def is_flagged(screening: Interval, n: int) -> bool:
    """Return whether a labeller's agreement with the known ranks is too low for sure, after LEAST_SCREENED items."""
    return n >= LEAST_SCREENED and screening.high < SOFT_LIMIT


def _by_model(store: BatchStore, batch: Batch, columns: Columns) -> dict[str, dict]:
    """Return the share of each flag and the mean rating by model, over items that are not for screening."""
    query = "SELECT id, models FROM items WHERE batch_id = ? AND models <> '[]'"
    texts = {row[0]: row[1] for row in store.rows(query, (batch.id,))}
    names = {text: json.loads(text) for text in set(texts.values())}
    counted: Counter[str] = Counter()
    flagged: Counter[tuple[str, str]] = Counter()
    ratings: dict[str, Counter[str]] = defaultdict(Counter)
    for (text, digits, flags), n in Counter(
        (texts.get(r[0], ""), r[5], r[6]) for r in columns.rows if not r[3]
    ).items():
        models = names.get(text, [])
        for name, rating, letters in zip_longest(models, digits[: len(models)], split_flags(flags, len(models))):
            counted[name] += n
            if rating:
                ratings[name][rating] += n
            for letter in letters or "":
                flagged[name, letter] += n
    letters = sorted({letter for _, letter in flagged})
    means = {}
    for model, counts in sorted(ratings.items()):
        if n := counts.total():
            means[model] = (sum(int(rating) * many for rating, many in counts.items()) / n, n)
    return {
        "flags": {(m, letter): wilson(flagged[m, letter], counted[m]) for m in sorted(counted) for letter in letters},
        "mean_ratings": means,
    }


def _skips(store: BatchStore, batch: Batch) -> dict[str, int]:
    query = "SELECT detail, count(*) FROM events WHERE batch_id = ? AND kind = 'skip' GROUP BY detail"
    return {row[0]: row[1] for row in store.rows(query, (batch.id,))}
