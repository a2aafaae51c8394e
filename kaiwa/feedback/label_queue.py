"""A labeller's queue: the next item, its answer, skips, undo. Pages and simulated labellers write through it alike.

An assignment ties an item to a labeller, with the order in which the outputs are shown. Items for screening, whose
ranks are known, fill the first ten places and every fourth from then on (Ouyang et al. 2022, B.1, screened before;
here it goes on). An item that was opened and left counts as taken for STALE_SECONDS.
"""

from __future__ import annotations

import json
import sqlite3
import statistics
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.feedback import batch_records as records
from kaiwa.feedback.batch_records import Assignment, Batch, ItemAnswer, NewEvent, QueueProgress, messages_from_json
from kaiwa.feedback.batch_store import BatchStore, prompt_of
from kaiwa.feedback.flags import OUTPUT_FLAGS, PROMPT_FLAGS, SKIP_REASONS, check_flags, join_flags, split_flags
from kaiwa.feedback.ranking import as_digits, check_ranks, from_digits, shuffled
from kaiwa.text.records import whole_text

FIRST_PLACES, EVERY = 10, 4  # of screening items
STALE_SECONDS = 3600.0  # after which an item that was left open goes to others too
LAST_SECONDS = 50  # finished items whose median is the labeller's pace
AVAILABLE = (  # plain items that this labeller can still be given
    "FROM items i WHERE i.batch_id = :batch AND i.known_ranks = '' AND NOT EXISTS"
    " (SELECT 1 FROM assignments a WHERE a.item_id = i.id AND a.labeller = :labeller)"
    " AND (SELECT count(*) FROM assignments a WHERE a.item_id = i.id AND"
    " (a.state = 'done' OR (a.state = 'open' AND a.opened > :stale))) < :labels"
)


class LabelQueue:
    """The items of one labeller in one batch. Names are checked where people are invited."""

    def __init__(self, store: BatchStore, batch: Batch, labeller: str) -> None:
        self.store, self.batch, self.labeller = store, batch, labeller

    def next(self) -> Assignment | None:
        """Return the open item, else open the next one; None where none is left or the batch is closed."""
        with self.store.transaction() as db:
            query = "SELECT id FROM assignments WHERE batch_id = ? AND labeller = ? AND state = 'open' ORDER BY place"
            row = db.execute(query, (self.batch.id, self.labeller)).fetchone()
            if row is None and self.store.batch(self.batch.id).is_open:
                item = self._choose(db)
                row = None if item is None else (self._assign(db, item),)
            return None if row is None else self.at(row[0])

    def _choose(self, db: sqlite3.Connection) -> int | None:
        """Return the id of the item for the labeller's next place."""
        place = self._n_assigned(db)
        plain = db.execute(f"SELECT i.id {AVAILABLE} ORDER BY i.number LIMIT 1", self._values()).fetchone()
        if is_screening_place(place) and (plain is not None or place < FIRST_PLACES):
            known = db.execute(
                "SELECT i.id FROM items i WHERE i.batch_id = :batch AND i.known_ranks > '' AND NOT EXISTS"
                " (SELECT 1 FROM assignments a WHERE a.item_id = i.id AND a.labeller = :labeller)"
                " ORDER BY i.number LIMIT 1",
                self._values(),
            ).fetchone()
            plain = known or plain
        return None if plain is None else int(plain[0])

    def _values(self) -> dict[str, object]:
        stale = time.time() - STALE_SECONDS
        batch = self.batch
        return {"batch": batch.id, "labeller": self.labeller, "stale": stale, "labels": batch.n_labels}

    def _n_assigned(self, db: sqlite3.Connection) -> int:
        query = "SELECT coalesce(max(place) + 1, 0) FROM assignments WHERE batch_id = ? AND labeller = ?"
        return int(db.execute(query, (self.batch.id, self.labeller)).fetchone()[0])

    def _assign(self, db: sqlite3.Connection, item: int, order: tuple[int, ...] | None = None) -> int:
        order = order if order is not None else shuffled(self.batch.k, self.batch.seed, item, self.labeller)
        values = (item, self.batch.id, self.labeller, self._n_assigned(db), as_digits(order), time.time())
        inserted = db.execute(
            "INSERT INTO assignments (item_id, batch_id, labeller, place, display, state, opened)"
            " VALUES (?,?,?,?,?,'open',?)",
            values,
        )
        return int(inserted.lastrowid or 0)

    def open_item(self, item: int, order: tuple[int, ...] | None = None) -> Assignment:
        """Return the assignment of a given item, opened now where there is none yet. order: that of the
        outputs.
        """
        with self.store.transaction() as db:
            query = "SELECT id FROM assignments WHERE item_id = ? AND labeller = ?"
            row = db.execute(query, (item, self.labeller)).fetchone()
            return self.at(row[0] if row else self._assign(db, item, order))

    def at(self, assignment: int) -> Assignment:
        """Return an assignment of this labeller in this batch, with its newest answer. UserError for any other."""
        row = self._row(assignment)
        order, outputs = from_digits(row["display"]), json.loads(row["outputs"])
        newest = self.store.rows(
            "SELECT * FROM judgements WHERE assignment_id = ? ORDER BY id DESC LIMIT 1", (assignment,)
        )
        return Assignment(
            id=row["id"],
            item=row["item_id"],
            place=row["place"],
            prompt=prompt_of(row["prompt"]),
            outputs=tuple(outputs[i] for i in order),
            order=order,
            state=row["state"],
            answer=as_shown(answer_of(newest[0], len(order)), order) if newest else None,
        )

    def _row(self, assignment: int) -> sqlite3.Row:
        rows = self.store.rows(
            "SELECT a.*, i.prompt, i.outputs, i.known_ranks FROM assignments a JOIN items i ON i.id = a.item_id"
            " WHERE a.id = ? AND a.batch_id = ? AND a.labeller = ?",
            (assignment, self.batch.id, self.labeller),
        )
        if not rows:
            raise UserError(f"item {assignment} is not in your queue", code="other_queue")
        return rows[0]

    def previous(self, assignment: int | None = None) -> Assignment | None:
        """Return the finished or skipped item before an assignment (None: the last one)."""
        place = self._row(assignment)["place"] if assignment is not None else 1 << 60
        rows = self.store.rows(
            "SELECT id FROM assignments WHERE batch_id = ? AND labeller = ? AND place < ? AND state <> 'open'"
            " ORDER BY place DESC LIMIT 1",
            (self.batch.id, self.labeller, place),
        )
        return self.at(rows[0]["id"]) if rows else None

    def finish(self, assignment: int, key: str, answer: ItemAnswer, events: Iterable[NewEvent] = ()) -> bool:
        """Store an answer, and return whether the item had all its labels from others already.

        key: made by the writer; the same key twice is one judgement. The answer to a finished item takes the place of
        the earlier one, which is kept. UserError for an answer that does not fit the item, and for a finished item of a
        closed batch.
        """
        with self.store.transaction() as db:
            row = self._row(assignment)
            if self._is_stored(db, key, assignment):
                return False
            if row["state"] != "open" and not self.store.batch(self.batch.id).is_open:
                raise UserError(f"{self.batch.name} is closed; your earlier answer counts", code="closed")
            order = from_digits(row["display"])
            answer = as_item(self._checked(answer), order)
            others = db.execute(
                "SELECT count(*) FROM assignments WHERE item_id = ? AND state = 'done' AND labeller <> ?",
                (row["item_id"], self.labeller),
            ).fetchone()[0]
            now = time.time()
            db.execute(
                "INSERT INTO judgements (key, assignment_id, ratings, flags, prompt_flags, ranks, messages, meta,"
                " seconds, instruction, created) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
                (key, assignment, *_answer_columns(answer), answer.instruction or self.batch.instruction, now),
            )
            db.execute("UPDATE assignments SET state = 'done', done = ? WHERE id = ?", (now, assignment))
            self._note(db, assignment, events)
        return row["state"] == "open" and not row["known_ranks"] and others >= self.batch.n_labels

    def _is_stored(self, db: sqlite3.Connection, key: str, assignment: int) -> bool:
        if not 8 <= len(key) <= 64:
            raise UserError(f"key {key!r:.20}: 8 to 64 characters, a new one for each judgement", field="key")
        row = db.execute("SELECT assignment_id FROM judgements WHERE key = ?", (key,)).fetchone()
        if row is not None and row[0] != assignment:
            raise UserError("this key is another item's judgement; make a new one", field="key")
        return row is not None

    def _checked(self, answer: ItemAnswer) -> ItemAnswer:
        """Return an answer with ranks in the form of records. UserError for one that does not fit the batch's task."""
        k, task = self.batch.k, self.batch.task
        wrong = next((r for r in answer.ratings if not 1 <= r <= records.BEST_RATING), None)
        if wrong is not None:
            raise UserError(f"rating {wrong}: 1 to {records.BEST_RATING}", field="ratings")
        if answer.ratings and len(answer.ratings) != k:
            raise UserError(f"{len(answer.ratings)} ratings for {k} outputs; give one each", field="ratings")
        if len(answer.flags) not in (0, k):
            raise UserError(f"flags of {len(answer.flags)} outputs, there are {k}", field="flags")
        if task == "rate" and not answer.ratings:
            raise UserError("the rating is missing; 1 to 7", field="ratings")
        if task == "demonstrate" and not any(m.role == "assistant" and m.content.strip() for m in answer.messages):
            raise UserError("the assistant's turn is empty; write an answer", field="messages")
        if not answer.seconds >= 0 or answer.seconds == float("inf"):
            raise UserError(f"seconds {answer.seconds}: 0 or more", field="seconds")
        if answer.instruction:
            self.store.sheet(answer.instruction)
        return replace(
            answer,
            ranks=check_ranks(answer.ranks, k) if task in ("rank", "arena") else (),
            flags=tuple(check_flags(letters, OUTPUT_FLAGS) for letters in answer.flags),
            prompt_flags=check_flags(answer.prompt_flags, PROMPT_FLAGS),
        )

    def skip(self, assignment: int, key: str, reason: str, events: Iterable[NewEvent] = ()) -> None:
        """Skip an open item with a reason, so that another labeller gets it. The same key twice is one skip."""
        if reason not in SKIP_REASONS:
            raise UserError(f"reason {reason!r:.30}: one of {', '.join(SKIP_REASONS)}", field="reason")
        with self.store.transaction() as db:
            if self._row(assignment)["state"] == "open":
                db.execute("UPDATE assignments SET state = 'skipped', done = ? WHERE id = ?", (time.time(), assignment))
            self._note(db, assignment, (*events, NewEvent(key=key, kind="skip", detail=reason)))

    def note(self, assignment: int, events: Iterable[NewEvent]) -> None:
        """Store what a labeller did on the way; each key once."""
        self._row(assignment)
        with self.store.transaction() as db:
            self._note(db, assignment, events)

    def _note(self, db: sqlite3.Connection, assignment: int, events: Iterable[NewEvent]) -> None:
        db.executemany(
            "INSERT INTO events (key, batch_id, assignment_id, labeller, kind, detail, created) VALUES (?,?,?,?,?,?,?)"
            " ON CONFLICT (key) DO NOTHING",
            [
                (e.key, self.batch.id, assignment, self.labeller, e.kind, e.detail[:400], e.at or time.time())
                for e in events
            ],
        )

    def progress(self) -> QueueProgress:
        """Return what is done, skipped and left, and the labeller's pace."""
        counts = dict.fromkeys(("open", "done", "skipped"), 0)
        own = (self.batch.id, self.labeller)
        query = "SELECT state, count(*) AS n FROM assignments WHERE batch_id = ? AND labeller = ? GROUP BY state"
        counts |= {row["state"]: row["n"] for row in self.store.rows(query, own)}
        remaining = counts["open"]
        if self.store.batch(self.batch.id).is_open:
            remaining += int(self.store.rows(f"SELECT count(*) AS n {AVAILABLE}", self._values())[0]["n"])
            remaining += self._screening_left(sum(counts.values()), remaining)
        seconds = self.store.rows(
            "SELECT j.seconds FROM assignments a JOIN judgements j ON j.assignment_id = a.id WHERE a.batch_id = ? AND"
            " a.labeller = ? AND a.state = 'done' ORDER BY a.place DESC, j.id DESC LIMIT ?",
            (*own, LAST_SECONDS),
        )
        pace = statistics.median(row["seconds"] for row in seconds) if seconds else 0.0
        return QueueProgress(done=counts["done"], skipped=counts["skipped"], remaining=remaining, median_seconds=pace)

    def _screening_left(self, assigned: int, plain: int) -> int:
        """Return how many screening items will stand among the plain ones that are left."""
        query = (
            "SELECT (SELECT count(*) FROM items WHERE batch_id = ? AND known_ranks > '') - (SELECT count(*) FROM"
            " assignments a JOIN items i ON i.id = a.item_id WHERE a.batch_id = ? AND a.labeller = ? AND"
            " i.known_ranks > '') AS n"
        )
        known = int(self.store.rows(query, (self.batch.id, self.batch.id, self.labeller))[0]["n"])
        first = max(0, FIRST_PLACES - assigned)
        return min(known, first + max(0, plain - 1) // (EVERY - 1))


def is_screening_place(place: int) -> bool:
    """Return whether an item for screening stands at a place of a queue, counted from 0."""
    return place < FIRST_PLACES or (place - FIRST_PLACES) % EVERY == EVERY - 1


def answer_of(row: sqlite3.Row | Mapping[str, Any], k: int) -> ItemAnswer:
    """Return the answer of a judgement's row, in the order of the item's outputs."""
    return ItemAnswer(
        ratings=from_digits(row["ratings"]),
        flags=tuple(split_flags(row["flags"], k)),
        prompt_flags=row["prompt_flags"],
        ranks=from_digits(row["ranks"]),
        messages=messages_from_json(json.loads(row["messages"] or "[]")),
        meta=json.loads(row["meta"]),
        seconds=row["seconds"],
        instruction=row["instruction"],
    )


def as_item(answer: ItemAnswer, order: tuple[int, ...]) -> ItemAnswer:
    """Return an answer in the order of the item's outputs, from the shown order."""
    place = [order.index(i) for i in range(len(order))]
    return _reordered(answer, place)


def as_shown(answer: ItemAnswer, order: tuple[int, ...]) -> ItemAnswer:
    """Return an answer in the shown order, from the order of the item's outputs."""
    return _reordered(answer, list(order))


def _reordered(answer: ItemAnswer, order: list[int]) -> ItemAnswer:
    return replace(
        answer,
        ratings=tuple(answer.ratings[i] for i in order) if answer.ratings else (),
        flags=tuple(answer.flags[i] for i in order) if answer.flags else (),
        ranks=tuple(answer.ranks[i] for i in order) if answer.ranks else (),
    )


def _answer_columns(answer: ItemAnswer) -> tuple[object, ...]:
    """Return a judgement's columns from `ratings` to `seconds`."""
    messages = [m.to_json() for m in answer.messages]
    text = whole_text(json.dumps(messages, ensure_ascii=False)) if messages else ""
    meta = json.dumps(dict(answer.meta), ensure_ascii=False)
    flags = join_flags(answer.flags)
    digits = as_digits(answer.ratings), flags, answer.prompt_flags, as_digits(answer.ranks)
    return (*digits, text, meta, round(answer.seconds, 3))
