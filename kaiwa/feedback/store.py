"""Conversations in SQLite: each is a tree of messages, with a path of shown messages.

Editing a message or asking again adds a sibling; text of a person or a model is never overwritten. Every
function is a transaction under write-ahead logging, so a kill at any moment leaves the last whole state; a message
whose writing process has ended reads as "interrupted". A lock guards the single connection: calls take well under a
millisecond.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.feedback.database import Database
from kaiwa.feedback.records import ConversationLine, SavedConversation, SavedMessage

FILE = "conversations.sqlite"
TITLE_CHARACTERS = 48
UNDO_SECONDS = 30 * 86_400.0  # in which a deletion can be undone
TRIGRAM = 3  # shorter searches go through LIKE


class Store(Database):
    """The conversations of a database file, created if missing. Safe to share between threads."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self.owner = f"{os.getpid()}:{uuid.uuid4().hex}"

    # conversations

    def create(self, model: str = "", settings: Mapping[str, Any] | None = None, title: str = "") -> int:
        """Create an empty conversation and return its id."""
        now = time.time()
        values = (title, int(bool(title)), model, _text(settings or {}), now, now)
        with self.transaction() as db:
            row = db.execute(
                "INSERT INTO conversations (title, named, model, settings, created, updated) VALUES (?,?,?,?,?,?)",
                values,
            )
        return int(row.lastrowid or 0)

    def rename(self, conversation: int, title: str) -> None:
        with self.transaction() as db:
            _one(db, conversation)
            db.execute("UPDATE conversations SET title = ?, named = 1 WHERE id = ?", (_line(title), conversation))

    def choose(self, conversation: int, model: str, settings: Mapping[str, Any]) -> None:
        """Remember the model and the settings for the next message."""
        with self.transaction() as db:
            _one(db, conversation)
            values = (model, _text(settings), conversation)
            db.execute("UPDATE conversations SET model = ?, settings = ? WHERE id = ?", values)

    def delete(self, conversation: int) -> None:
        """Take a conversation out of the list; `undo` restores the conversation for thirty days."""
        with self.transaction() as db:
            now = time.time()
            db.execute("UPDATE conversations SET deleted_at = ? WHERE id = ?", (now, conversation))
            db.execute("DELETE FROM conversations WHERE deleted_at < ?", (now - UNDO_SECONDS,))

    def undo(self, conversation: int) -> None:
        """Undo a deletion. UserError for a final deletion."""
        with self.transaction() as db:
            if not db.execute("UPDATE conversations SET deleted_at = NULL WHERE id = ?", (conversation,)).rowcount:
                raise UserError(f"conversation {conversation} is gone")

    def lines(self, most: int = 100, before: float | None = None) -> list[ConversationLine]:
        """Return the list, newest first. before: the `updated` of the last line of the previous page."""
        rows = self.rows(
            "SELECT id, title, model, updated FROM conversations WHERE deleted_at IS NULL AND next_id IS NOT NULL"
            " AND updated < ? ORDER BY updated DESC, id DESC LIMIT ?",
            (before if before is not None else float("inf"), most),
        )
        return [ConversationLine(**dict(row)) for row in rows]

    def search(self, text: str, most: int = 50) -> list[ConversationLine]:
        """Return conversations with `text` in a title or a message, in any script, newest first."""
        text = text.strip()
        if not text:
            return self.lines(most)
        like = "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        if len(text) >= TRIGRAM:
            hit, needle = "m.id IN (SELECT rowid FROM found WHERE found MATCH ?)", '"' + text.replace('"', '""') + '"'
        else:
            hit, needle = "m.content LIKE ? ESCAPE '\\'", like
        rows = self.rows(
            "SELECT c.id, c.title, c.model, c.updated,"
            f" (SELECT m.content FROM messages m WHERE m.conversation_id = c.id AND {hit} ORDER BY m.id DESC LIMIT 1)"
            " AS hit FROM conversations c"
            " WHERE c.deleted_at IS NULL AND (hit IS NOT NULL OR c.title LIKE ? ESCAPE '\\')"
            " ORDER BY c.updated DESC LIMIT ?",
            (needle, like, most),
        )
        return [
            ConversationLine(**{k: r[k] for k in ("id", "title", "model", "updated")}, excerpt=_excerpt(r["hit"], text))
            for r in rows
        ]

    def get(self, conversation: int) -> SavedConversation:
        """Return a conversation with its shown path. UserError for an unknown or deleted conversation."""
        with self._lock:
            row = _one(self._db, conversation)
            rows = self.rows("SELECT * FROM messages WHERE conversation_id = ? ORDER BY id", (conversation,))
        versions: dict[int | None, list[int]] = {}
        by_id = {}
        for message in rows:
            versions.setdefault(message["parent_id"], []).append(message["id"])
            by_id[message["id"]] = message
        path, at = [], row["next_id"]
        while at is not None:
            path.append(self._message(by_id[at], versions[by_id[at]["parent_id"]]))
            at = by_id[at]["next_id"]
        fields = {k: row[k] for k in ("id", "title", "model", "created", "updated")}
        return SavedConversation(**fields, settings=json.loads(row["settings"]), path=tuple(path))

    # messages

    def append(
        self,
        conversation: int,
        parent: int | None,
        role: str,
        content: str = "",
        *,
        model: str = "",
        sampling: Mapping[str, Any] | None = None,
        streaming: bool = False,
    ) -> int:
        """Add a message under `parent` (None: a first message), show the message, and return its id.

        If `parent` has children already, the message is another version beside them.
        """
        now = time.time()
        with self.transaction() as db:
            row = _one(db, conversation)
            if parent is not None:
                above = db.execute("SELECT conversation_id FROM messages WHERE id = ?", (parent,)).fetchone()
                if above is None or above["conversation_id"] != conversation:
                    raise UserError(f"message {parent} is not in conversation {conversation}")
            inserted = db.execute(
                "INSERT INTO messages"
                " (conversation_id, parent_id, role, content, model, sampling, state, owner, created)"
                " VALUES (?,?,?,?,?,?,?,?,?)",
                (conversation, parent, role, content, model, _text(sampling or {}), *self._state(streaming), now),
            )
            new = int(inserted.lastrowid or 0)
            _show(db, conversation, parent, new)
            title = row["title"]
            if role == "user" and not row["named"] and not title:
                title = _line(content)
            db.execute("UPDATE conversations SET updated = ?, title = ? WHERE id = ?", (now, title, conversation))
        return new

    def edit(self, message: int, content: str) -> int:
        """Add a new version of a message beside the old message, and return its id."""
        old = self.message(message)
        return self.append(old.conversation_id, old.parent_id, old.role, content, model=old.model)

    def flip(self, message: int) -> None:
        """Show another version of a message, and the messages last shown below."""
        chosen = self.message(message)
        with self.transaction() as db:
            _show(db, chosen.conversation_id, chosen.parent_id, message)

    def message(self, message: int) -> SavedMessage:
        with self._lock:
            rows = self.rows("SELECT * FROM messages WHERE id = ?", (message,))
            if not rows:
                raise UserError(f"there is no message {message}")
            row = rows[0]
            siblings = self.rows(
                "SELECT id FROM messages WHERE conversation_id = ? AND parent_id IS ? ORDER BY id",
                (row["conversation_id"], row["parent_id"]),
            )
        return self._message(row, [r["id"] for r in siblings])

    def history(self, message: int) -> list[SavedMessage]:
        """Return the messages above a message, from the first on: the prompt for a model."""
        messages: list[SavedMessage] = []
        at = self.message(message).parent_id
        while at is not None:
            messages.append(self.message(at))
            at = messages[-1].parent_id
        return messages[::-1]

    def write(self, message: int, content: str) -> None:
        """Store the text so far of a streaming message."""
        with self.transaction() as db:
            db.execute("UPDATE messages SET content = ? WHERE id = ? AND state = 'streaming'", (content, message))

    def finish(
        self,
        message: int,
        content: str,
        state: str,
        *,
        finish_reason: str = "",
        error: str = "",
        n_tokens: int = 0,
        seconds: float = 0.0,
        turns: tuple[int, int] = (0, 0),
    ) -> None:
        """End a streaming message as "done", "stopped" or "failed". turns: of the conversation, and how many of the
        oldest were too many for the model; kept with the sampling where there are any.
        """
        with self.transaction() as db:
            db.execute(
                "UPDATE messages SET content = ?, state = ?, finish_reason = ?, error = ?, n_tokens = ?, seconds = ?"
                " WHERE id = ?",
                (content, state, finish_reason, error, n_tokens, seconds, message),
            )
            if turns[1]:
                query = "UPDATE messages SET sampling = json_set(sampling, '$.turns', json(?)) WHERE id = ?"
                db.execute(query, (json.dumps(turns), message))

    def _state(self, streaming: bool) -> tuple[str, str]:
        return ("streaming", self.owner) if streaming else ("done", "")

    def _message(self, row: sqlite3.Row, versions: list[int]) -> SavedMessage:
        fields = {k: v for k, v in dict(row).items() if k not in ("next_id", "owner", "sampling")}
        if fields["state"] == "streaming" and not self._alive(row["owner"]):
            fields["state"] = "interrupted"
        return SavedMessage(**fields, sampling=json.loads(row["sampling"]), versions=tuple(versions))

    def _alive(self, owner: str) -> bool:
        """Return whether the process streaming into a message still runs."""
        if owner == self.owner:
            return True
        pid = int(owner.partition(":")[0] or 0)
        if pid in (0, os.getpid()):
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def _one(db: sqlite3.Connection, conversation: int) -> sqlite3.Row:
    query = "SELECT * FROM conversations WHERE id = ? AND deleted_at IS NULL"
    row: sqlite3.Row | None = db.execute(query, (conversation,)).fetchone()
    if row is None:
        raise UserError(f"there is no conversation {conversation}")
    return row


def _show(db: sqlite3.Connection, conversation: int, parent: int | None, message: int) -> None:
    """Make `message` the shown child of its parent."""
    if parent is None:
        db.execute("UPDATE conversations SET next_id = ? WHERE id = ?", (message, conversation))
    else:
        db.execute("UPDATE messages SET next_id = ? WHERE id = ?", (message, parent))


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), ensure_ascii=False)


def _line(text: str) -> str:
    """Return the first line of a text, cut to a title's length."""
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return first if len(first) <= TITLE_CHARACTERS else first[: TITLE_CHARACTERS - 1].rstrip() + "…"


def _excerpt(content: str | None, text: str, around: int = 24) -> str:
    """Return the hit with some text on both sides."""
    if not content:
        return ""
    flat = " ".join(content.split())
    at = max(0, flat.lower().find(text.lower()))
    start, end = max(0, at - around), at + len(text) + around
    return ("…" if start else "") + flat[start:end] + ("…" if end < len(flat) else "")
