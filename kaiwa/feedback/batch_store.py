"""Batches of items in the store: made, filled, opened to labellers, closed. What labellers do is in label_queue.py.

Rows are added and never overwritten, but for an assignment's state and an invitation's end: a batch is closed by an
event, and a changed instruction sheet is a further version. Several processes may use one file at a time.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

from kaiwa.core.errors import UserError
from kaiwa.feedback import batch_records as records
from kaiwa.feedback.batch_records import Batch, BatchItem, NewItem, OutputSource, messages_from_json
from kaiwa.feedback.database import Database
from kaiwa.feedback.instructions import check_sheet, default_sheet, sheet_version
from kaiwa.feedback.ranking import as_digits, check_ranks, from_digits
from kaiwa.text.records import Conversation, whole_text

CLOSE, REOPEN, INSTRUCT = "close", "reopen", "instruct"


class BatchStore(Database):
    """The batches of a database file, which may be the conversations' file. Safe to share between threads."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)

    # batches

    def create(
        self,
        name: str,
        *,
        task: records.Kind = "rank",
        purpose: records.Purpose = "training",
        k: int = 4,
        n_labels: int = 1,
        may_label: Iterable[str] = (),
        seed: int = 0,
    ) -> Batch:
        """Create an empty batch with kaiwa's instruction sheet. UserError for a name in use and for bad numbers."""
        records.check_batch_name(name)
        if task not in records.KINDS or purpose not in records.PURPOSES:
            raise UserError(f"batch {name}: {task} {purpose}; it is {', '.join(records.KINDS)}, training or evaluation")
        records.check_k(task, k)
        if not 1 <= n_labels <= records.MOST_LABELS:
            raise UserError(f"labels {n_labels}: 1 to {records.MOST_LABELS} labellers an item", field="labels")
        people = [records.check_labeller(one) for one in may_label]
        texts = default_sheet(task, purpose)
        version = sheet_version(task if task in ("demonstrate", "arena") else purpose, texts)
        now = time.time()
        try:
            with self.transaction() as db:
                _add_sheet(db, version, texts, now)
                db.execute(
                    "INSERT INTO batches (name, task, purpose, instruction, k, n_labels, may_label, seed, created)"
                    " VALUES (?,?,?,?,?,?,?,?,?)",
                    (name, task, purpose, version, k, n_labels, json.dumps(people, ensure_ascii=False), seed, now),
                )
        except sqlite3.IntegrityError:
            raise UserError(f"there is a batch {name} already; take another name", field="batch") from None
        return self.batch(name)

    def batches(self) -> list[Batch]:
        """Return all batches, the newest first."""
        return [self._batch(row) for row in self.rows("SELECT * FROM batches ORDER BY id DESC")]

    def batch(self, name: str | int) -> Batch:
        """Return a batch by name or id. UserError for an unknown one, with the names there are."""
        column = "id" if isinstance(name, int) else "name"
        rows = self.rows(f"SELECT * FROM batches WHERE {column} = ?", (name,))
        if not rows:
            known = ", ".join(row["name"] for row in self.rows("SELECT name FROM batches ORDER BY id DESC LIMIT 9"))
            raise UserError(f"there is no batch {name!r:.60}; there is {known or 'none yet: kaiwa feedback new'}")
        return self._batch(rows[0])

    def _batch(self, row: sqlite3.Row) -> Batch:
        values = dict(row) | {"may_label": tuple(json.loads(row["may_label"]))}
        sheet = self._last_event(row["id"], (INSTRUCT,))
        state = self._last_event(row["id"], (CLOSE, REOPEN))
        values["instruction"] = sheet["detail"] if sheet else row["instruction"]
        return Batch(**values, is_open=state is None or state["kind"] == REOPEN)

    def _last_event(self, batch: int, kinds: tuple[str, ...]) -> sqlite3.Row | None:
        marks = ",".join("?" * len(kinds))
        query = f"SELECT kind, detail FROM events WHERE batch_id = ? AND kind IN ({marks}) ORDER BY id DESC LIMIT 1"
        rows = self.rows(query, (batch, *kinds))
        return rows[0] if rows else None

    def close_batch(self, name: str) -> None:
        """Close a batch: no labeller gets a further item; items that are open may still be finished."""
        self._add_event(self.batch(name), CLOSE)

    def reopen_batch(self, name: str) -> None:
        self._add_event(self.batch(name), REOPEN)

    def change_sheet(self, name: str, texts: Mapping[str, str]) -> str:
        """Give a batch another instruction sheet, by language, from the next item on. Return its version."""
        batch = self.batch(name)
        version = sheet_version(batch.purpose, check_sheet(texts))
        with self.transaction() as db:
            _add_sheet(db, version, texts, time.time())
        self._add_event(batch, INSTRUCT, version)
        return version

    def sheet(self, version: str) -> dict[str, str]:
        """Return the texts of a version by language. UserError for an unknown one."""
        rows = self.rows("SELECT texts FROM instructions WHERE version = ?", (version,))
        if not rows:
            raise UserError(f"there is no instruction sheet {version!r:.60}", field="instruction")
        texts: dict[str, str] = json.loads(rows[0]["texts"])
        return texts

    def _add_event(self, batch: Batch, kind: str, detail: str = "") -> None:
        with self.transaction() as db:
            db.execute(
                "INSERT INTO events (key, batch_id, kind, detail, created) VALUES (?,?,?,?,?)",
                (uuid.uuid4().hex, batch.id, kind, detail, time.time()),
            )

    # items

    def add_items(self, name: str, items: Iterable[NewItem]) -> int:
        """Add items to a batch in one transaction, and return how many were new.

        An item whose key is there already is left as it is. UserError for a wrong number of outputs or ranks.
        """
        batch = self.batch(name)
        added = 0
        with self.transaction() as db:
            query = "SELECT coalesce(max(number) + 1, 0) FROM items WHERE batch_id = ?"  # an index knows it at once
            number = db.execute(query, (batch.id,)).fetchone()[0]
            for item in items:
                cursor = db.execute(
                    "INSERT INTO items (batch_id, number, prompt, outputs, lengths, models, sources,"
                    " known_ranks, meta, key)"
                    " VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT (batch_id, key) DO NOTHING",
                    (batch.id, number + added, *_item_columns(batch, item)),
                )
                added += cursor.rowcount
        return added

    def items(self, name: str) -> list[BatchItem]:
        """Return a batch's items in order."""
        rows = self.rows("SELECT * FROM items WHERE batch_id = ? ORDER BY number", (self.batch(name).id,))
        return [item_of(row) for row in rows]

    def count_items(self, batch: Batch) -> tuple[int, int]:
        """Return the number of a batch's items, and how many of them are for screening."""
        query = "SELECT count(*), count(nullif(known_ranks, '')) FROM items WHERE batch_id = ?"
        (row,) = self.rows(query, (batch.id,))
        return row[0], row[1]

    # invitations

    def invite(self, name: str, labeller: str) -> str:
        """Return a fresh token for a labeller's link to a batch. Only its digest is kept.

        UserError for a name that may not label this batch.
        """
        batch, labeller = self.batch(name), records.check_labeller(labeller)
        if batch.may_label and labeller not in batch.may_label:
            raise UserError(f"{labeller} may not label {name}; it is for {', '.join(batch.may_label)}", field="name")
        token = secrets.token_urlsafe(18)
        with self.transaction() as db:
            db.execute(
                "INSERT INTO invitations (digest, batch_id, labeller, created) VALUES (?,?,?,?)",
                (_digest(token), batch.id, labeller, time.time()),
            )
        return token

    def revoke(self, name: str, labeller: str) -> int:
        """End a labeller's links to a batch, and return how many there were. What was judged stays."""
        batch, labeller = self.batch(name), records.check_labeller(labeller)
        with self.transaction() as db:
            n = db.execute(
                "UPDATE invitations SET revoked = ? WHERE batch_id = ? AND labeller = ? AND revoked IS NULL",
                (time.time(), batch.id, labeller),
            ).rowcount
        if not n:
            raise UserError(f"{labeller} has no link to {name}", field="name")
        return n

    def invited(self, token: str) -> tuple[Batch, str]:
        """Return the batch and the labeller of a link. UserError for an unknown or revoked one."""
        query = "SELECT batch_id, labeller, revoked FROM invitations WHERE digest = ?"
        rows = self.rows(query, (_digest(token),))
        if not rows:
            raise UserError("this link is not known here; ask for a new one", code="unknown_link")
        if rows[0]["revoked"] is not None:
            raise UserError("this link was taken back; what you judged is kept", code="revoked_link")
        return self.batch(int(rows[0]["batch_id"])), str(rows[0]["labeller"])


def _item_columns(batch: Batch, item: NewItem) -> tuple[str, ...]:
    """Return an item's columns from `prompt` to `key`. UserError for outputs and ranks that the batch cannot have."""
    records.check_outputs(item.outputs, batch.k)
    if item.sources and len(item.sources) != batch.k:
        raise UserError(f"{len(item.sources)} sources for {batch.k} outputs; give one each", field="sources")
    known = as_digits(check_ranks(item.known_ranks, batch.k)) if item.known_ranks else ""
    prompt, outputs = _json([m.to_json() for m in item.prompt]), _json(item.outputs)
    key = item.key or hashlib.sha256(f"{prompt}\x1f{outputs}\x1f{known}".encode()).hexdigest()[:32]
    lengths, models = _json([len(text) for text in item.outputs]), _json([source.model for source in item.sources])
    return (
        prompt,
        outputs,
        lengths,
        models,
        _json([s.to_json() for s in item.sources]),
        known,
        _json(dict(item.meta)),
        key,
    )


def item_of(row: sqlite3.Row) -> BatchItem:
    """Return the item of a row of the table."""
    return BatchItem(
        id=row["id"],
        number=row["number"],
        prompt=prompt_of(row["prompt"]),
        outputs=tuple(json.loads(row["outputs"])),
        sources=tuple(OutputSource(**source) for source in json.loads(row["sources"])),
        known_ranks=from_digits(row["known_ranks"]),
        meta=json.loads(row["meta"]),
    )


def prompt_of(text: str) -> Conversation:
    return messages_from_json(json.loads(text))


def _add_sheet(db: sqlite3.Connection, version: str, texts: Mapping[str, str], now: float) -> None:
    values = (version, _json(dict(texts)), now)
    db.execute("INSERT INTO instructions (version, texts, created) VALUES (?,?,?) ON CONFLICT DO NOTHING", values)


def _json(value: object) -> str:
    return whole_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
