"""The database's tables as numbered steps. A released step is never changed; new steps are added below.

`PRAGMA user_version` holds the number of the last step done; step and number are written in the same transaction.
"""

from __future__ import annotations

import sqlite3

from kaiwa.core.errors import UserError

STEPS: tuple[str, ...] = (
    # 1: conversations as trees of messages. `next_id` is the version that is shown; siblings are the versions.
    """
    CREATE TABLE conversations (
        id INTEGER PRIMARY KEY,
        title TEXT NOT NULL DEFAULT '',
        named INTEGER NOT NULL DEFAULT 0,
        model TEXT NOT NULL DEFAULT '',
        settings TEXT NOT NULL DEFAULT '{}',
        created REAL NOT NULL,
        updated REAL NOT NULL,
        deleted_at REAL,
        next_id INTEGER REFERENCES messages(id) ON DELETE SET NULL
    );
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY,
        conversation_id INTEGER NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
        parent_id INTEGER REFERENCES messages(id) ON DELETE CASCADE,
        next_id INTEGER REFERENCES messages(id) ON DELETE SET NULL,
        role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
        content TEXT NOT NULL DEFAULT '',
        model TEXT NOT NULL DEFAULT '',
        sampling TEXT NOT NULL DEFAULT '{}',
        state TEXT NOT NULL CHECK (state IN ('streaming', 'done', 'stopped', 'failed')),
        owner TEXT NOT NULL DEFAULT '',
        finish_reason TEXT NOT NULL DEFAULT '',
        error TEXT NOT NULL DEFAULT '',
        n_tokens INTEGER NOT NULL DEFAULT 0,
        seconds REAL NOT NULL DEFAULT 0,
        created REAL NOT NULL
    );
    CREATE INDEX messages_by_parent ON messages (conversation_id, parent_id, id);
    CREATE INDEX conversations_by_time ON conversations (deleted_at, updated);
    CREATE TABLE votes (
        id INTEGER PRIMARY KEY,
        message_id INTEGER NOT NULL REFERENCES messages(id) ON DELETE CASCADE,
        other_id INTEGER REFERENCES messages(id) ON DELETE CASCADE,
        preference INTEGER NOT NULL CHECK (preference BETWEEN -1 AND 1),
        labeller TEXT NOT NULL DEFAULT '',
        created REAL NOT NULL
    );
    CREATE VIRTUAL TABLE found USING fts5 (content, tokenize = 'trigram');
    CREATE TRIGGER messages_found_in AFTER INSERT ON messages WHEN new.state <> 'streaming' BEGIN
        INSERT INTO found (rowid, content) VALUES (new.id, new.content);
    END;
    CREATE TRIGGER messages_found_again AFTER UPDATE OF content, state ON messages WHEN new.state <> 'streaming' BEGIN
        DELETE FROM found WHERE rowid = new.id;
        INSERT INTO found (rowid, content) VALUES (new.id, new.content);
    END;
    CREATE TRIGGER messages_found_out AFTER DELETE ON messages BEGIN
        DELETE FROM found WHERE rowid = old.id;
    END;
    """,
)


def migrate(db: sqlite3.Connection) -> None:
    """Bring a database up to the last step. UserError for a database of a newer kaiwa."""
    while (done := _version(db)) < len(STEPS):
        try:
            db.executescript(f"BEGIN IMMEDIATE;\n{STEPS[done]}\nPRAGMA user_version = {done + 1};\nCOMMIT;")
        except sqlite3.OperationalError:
            if db.in_transaction:
                db.execute("ROLLBACK")
            if _version(db) == done:  # otherwise another process did this step in the meantime
                raise
    if done > len(STEPS):
        raise UserError(f"the conversations were written by a newer kaiwa (step {done}, this one knows {len(STEPS)})")


def _version(db: sqlite3.Connection) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)
