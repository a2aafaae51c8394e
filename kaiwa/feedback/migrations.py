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
    # 2: what people judge. Judgements and events are only ever added: of an assignment's judgements the one with the
    # highest id counts, and a batch is open or closed by its last event. Ranks, ratings and `display` have one digit an
    # output (the item's outputs in their own order; `display` has them in the order of the labeller's page); flags are
    # letters, outputs parted by commas. `lengths` (characters) and `models` repeat what `outputs` and `sources` say,
    # for the owner's view. `key` is the writer's: the same key twice is one row.
    """
    DROP TABLE votes;
    CREATE TABLE instructions (
        version TEXT PRIMARY KEY,
        texts TEXT NOT NULL,
        created REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE batches (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        task TEXT NOT NULL CHECK (task IN ('rank', 'rate', 'demonstrate', 'arena')),
        purpose TEXT NOT NULL CHECK (purpose IN ('training', 'evaluation')),
        instruction TEXT NOT NULL REFERENCES instructions(version),
        k INTEGER NOT NULL,
        n_labels INTEGER NOT NULL,
        may_label TEXT NOT NULL DEFAULT '[]',
        seed INTEGER NOT NULL,
        created REAL NOT NULL
    );
    CREATE TABLE items (
        id INTEGER PRIMARY KEY,
        batch_id INTEGER NOT NULL REFERENCES batches(id),
        number INTEGER NOT NULL,
        prompt TEXT NOT NULL,
        outputs TEXT NOT NULL,
        lengths TEXT NOT NULL,
        models TEXT NOT NULL,
        sources TEXT NOT NULL DEFAULT '[]',
        known_ranks TEXT NOT NULL DEFAULT '',
        meta TEXT NOT NULL DEFAULT '{}',
        key TEXT NOT NULL,
        UNIQUE (batch_id, number),
        UNIQUE (batch_id, key)
    );
    CREATE INDEX items_by_place ON items (batch_id, known_ranks, number);
    CREATE TABLE assignments (
        id INTEGER PRIMARY KEY,
        item_id INTEGER NOT NULL REFERENCES items(id),
        batch_id INTEGER NOT NULL REFERENCES batches(id),
        labeller TEXT NOT NULL,
        place INTEGER NOT NULL,
        display TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('open', 'done', 'skipped')),
        opened REAL NOT NULL,
        done REAL,
        UNIQUE (item_id, labeller)
    );
    CREATE INDEX assignments_by_place ON assignments (batch_id, labeller, place);
    CREATE INDEX assignments_by_item ON assignments (item_id, state, opened, labeller);
    CREATE TABLE judgements (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        assignment_id INTEGER NOT NULL REFERENCES assignments(id),
        ratings TEXT NOT NULL DEFAULT '',
        flags TEXT NOT NULL DEFAULT '',
        prompt_flags TEXT NOT NULL DEFAULT '',
        ranks TEXT NOT NULL DEFAULT '',
        messages TEXT NOT NULL DEFAULT '',
        meta TEXT NOT NULL DEFAULT '{}',
        seconds REAL NOT NULL,
        instruction TEXT NOT NULL REFERENCES instructions(version),
        created REAL NOT NULL
    );
    CREATE INDEX judgements_by_assignment ON judgements (assignment_id, id);
    CREATE TABLE events (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        batch_id INTEGER NOT NULL REFERENCES batches(id),
        assignment_id INTEGER REFERENCES assignments(id),
        labeller TEXT NOT NULL DEFAULT '',
        kind TEXT NOT NULL,
        detail TEXT NOT NULL DEFAULT '',
        created REAL NOT NULL
    );
    CREATE INDEX events_by_batch ON events (batch_id, kind, id);
    CREATE TABLE invitations (
        digest TEXT PRIMARY KEY,
        batch_id INTEGER NOT NULL REFERENCES batches(id),
        labeller TEXT NOT NULL,
        created REAL NOT NULL,
        revoked REAL
    ) WITHOUT ROWID;
    CREATE INDEX invitations_by_batch ON invitations (batch_id, labeller);
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
