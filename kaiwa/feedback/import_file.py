"""Judgements, demonstrations and prompts from other people's files, into batches of the store.

Rows are read as the trainers read them (kaiwa/text); each row decides what it is, so that a file may hold several
kinds. A row whose fields disagree is named by file and line and left out, the rest goes in. Reading a file twice adds
nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.feedback.batch_records import ItemAnswer, Kind, NewItem, OutputSource, check_batch_name, check_k
from kaiwa.feedback.batch_store import BatchStore
from kaiwa.feedback.label_queue import LabelQueue
from kaiwa.feedback.store import Store
from kaiwa.text.data_card import kind_of, shape_of
from kaiwa.text.files import Row, read_rows
from kaiwa.text.records import Comparison, Conversation, Demonstration, Message
from kaiwa.text.shapes import comparisons_of, demonstration_of, prompt_of

Say = Callable[[str], None]
FORMATS = ("auto", "kaiwa", "trl", "hh", "messages", "sharegpt", "argilla", "label-studio", "chats")
FORMAT_SHAPES = {
    "kaiwa": ("rankings", "messages", "prompts"),
    "trl": ("preferences",),
    "hh": ("preferences in HH",),
    "messages": ("messages", "a list of messages"),
    "sharegpt": ("ShareGPT",),
    "argilla": ("Argilla",),
    "label-studio": ("Label Studio",),
}
SQLITE = b"SQLite format 3\0"
CHUNK = 500  # rows of a transaction
MOST_NAMED = 20  # rows left out that are named one by one


@dataclass(slots=True)
class ImportSummary:
    """What came in: records by batch, rows by shape and by kind of fault. joined: messages of one speaker in a row that
    became one; headless: conversations whose first message was the assistant's, which was left out."""

    rows: int = 0
    added: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    joined: int = 0
    headless: int = 0
    shapes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    left_out: int = 0

    def line(self, path: Path) -> str:
        """Return the summary in one line."""
        batches = ", ".join(f"{n:,} records in batch {name}" for name, n in self.added.items()) or "no new record"
        parts = [f"{path}: {batches}", " and ".join(self.shapes)]
        counts = (
            ("were here already", self.repeated),
            ("messages joined to the one before, of the same speaker", self.joined),
            ("conversations without the assistant's first message", self.headless),
        )
        parts += [f"{n:,} {what}" for what, n in counts if n]
        return "; ".join(part for part in parts if part) + f"; {self.left_out:,} of {self.rows:,} rows left out"


def import_file(store: BatchStore, path: Path, name: str, say: Say, form: str = "auto") -> ImportSummary:
    """Import a file into the batch `name` (further kinds of records into batches of longer names).

    say: is told each row that is left out, up to MOST_NAMED. UserError where nothing could be read.
    """
    check_batch_name(name)
    if form not in FORMATS:
        raise UserError(f"format {form!r}: one of {', '.join(FORMATS)}", field="format")
    if form == "chats" or (path.is_file() and path.open("rb").read(16) == SQLITE):
        return _import_chats(store, path, name)
    reader = _Reader(store, name, form, say)
    rows = read_rows(path)
    while chunk := list(islice(rows, CHUNK)):
        with store.transaction():
            for row in chunk:
                reader.take(row)
    summary = reader.summary
    if summary.left_out > MOST_NAMED:
        say(f"{path}: {summary.left_out - MOST_NAMED:,} more rows are left out")
    if not summary.added and not summary.repeated:
        raise UserError(
            f"{path}: none of {summary.rows:,} rows is a record; the first: {summary.faults[:1] or 'empty'}"
        )
    return summary


class _Reader:
    """Takes rows into batches, one batch a task and number of outputs."""

    def __init__(self, store: BatchStore, name: str, form: str, say: Say) -> None:
        self.store, self.name, self.form, self.say = store, name, form, say
        self.summary = ImportSummary()
        self._batches: dict[tuple[str, int], str] = {}

    def take(self, row: Row) -> None:
        self.summary.rows += 1
        try:
            if row.fault:
                raise UserError(row.fault)
            shape = shape_of(row.value).partition(" (")[0]
            expected = FORMAT_SHAPES.get(self.form)
            if expected is not None and not shape.startswith(expected):
                raise UserError(f"it is {shape}, not {self.form}")
            self._add(row)
            self.summary.shapes[shape] += 1
        except UserError as error:
            self.summary.left_out += 1
            if self.summary.left_out <= MOST_NAMED:
                self.summary.faults.append(f"{row.place}: {error}")
                self.say(f"{row.place}: {error}; left out")

    def _add(self, row: Row) -> None:
        kind = kind_of(row.value)
        if kind == "comparisons":
            records = [self._checked(record) for record in comparisons_of(row.value)]
            for record in records:
                self._add_comparison(record)
        elif kind == "prompts":
            item = NewItem(prompt=self._tidy(prompt_of(row.value)))
            self._count(self.batch("demonstrate", 0), self.store.add_items(self.batch("demonstrate", 0), [item]))
        else:
            self._add_demonstration(demonstration_of(row.value))

    def _checked(self, record: Comparison) -> Comparison:
        """Return a comparison that agrees with itself. UserError naming the fields that do not."""
        check_k("rank", len(record.completions))
        if len(set(record.completions)) < len(record.completions):
            by_text: dict[str, int] = {}
            for text, rank in zip(record.completions, record.ranks, strict=True):
                if by_text.setdefault(text, rank) != rank:
                    raise UserError("chosen equals rejected: one text has two different ranks")
        return replace(record, prompt=self._tidy(record.prompt))

    def _tidy(self, messages: Conversation) -> Conversation:
        """Return messages with neighbours of one role joined, without an assistant's message before any user's."""
        tidy: list[Message] = []
        for message in messages:
            if message.role == "assistant" and all(m.role == "system" for m in tidy):
                self.summary.headless += 1
            elif tidy and tidy[-1].role == message.role and message.role in ("user", "assistant"):
                self.summary.joined += 1
                tidy[-1] = replace(tidy[-1], content=f"{tidy[-1].content}\n\n{message.content}")
            else:
                tidy.append(message)
        return tuple(tidy)

    def batch(self, task: Kind, k: int) -> str:
        """Return the name of the batch for a task and number of outputs, made where it is missing."""
        if (task, k) not in self._batches:
            known = {batch.name: batch for batch in self.store.batches()}
            names = [self.name, f"{self.name[:30]}-{task}{k or ''}"]
            for name in names if not self._batches else names[1:]:
                if name not in known:
                    self.store.create(name, task=task, k=k)
                    break
                if (known[name].task, known[name].k) == (task, k):
                    break
            else:
                raise UserError(f"batch {names[-1]} is there and holds other records; give another --batch")
            self._batches[task, k] = name
        return self._batches[task, k]

    def _add_comparison(self, record: Comparison) -> None:
        item = NewItem(prompt=record.prompt, outputs=record.completions, key=_key(record.prompt, record.completions))
        answer = ItemAnswer(ranks=record.ranks, meta={"imported": dict(record.meta)})
        self._judge(self.batch("rank", len(record.completions)), item, record.labeller, answer)

    def _add_demonstration(self, record: Demonstration) -> None:
        if not record.messages:
            raise UserError("a document without turns; import dialogues, and learn texts by `kaiwa sft`")
        messages = self._tidy(record.messages)
        first = next((i for i, m in enumerate(messages) if m.role == "assistant"), len(messages))
        if first in (0, len(messages)):
            raise UserError("no answer of the assistant to a user's message in it")
        meta: dict[str, Any] = {
            "imported": dict(record.meta),
            **({"tools": list(record.tools)} if record.tools else {}),
        }
        item = NewItem(prompt=messages[:first], key=_key(messages, ()))
        answer = ItemAnswer(messages=messages, meta=meta)
        self._judge(self.batch("demonstrate", 0), item, str(record.meta.get("labeller") or ""), answer)

    def _judge(self, batch: str, item: NewItem, labeller: str, answer: ItemAnswer) -> None:
        """Add an item and its judgement, in the item's own order."""
        spoken = json.dumps([answer.ranks, dict(answer.meta)], sort_keys=True, ensure_ascii=False)
        key = hashlib.sha256(f"{batch}\x1f{item.key}\x1f{labeller}\x1f{spoken}".encode(errors="replace")).hexdigest()[
            :40
        ]
        if self.store.rows("SELECT 1 FROM judgements WHERE key = ?", (key,)):
            self._count(batch, 0)
            return
        self.store.add_items(batch, [item])
        owner = self.store.batch(batch)
        query = "SELECT id FROM items WHERE batch_id = ? AND key = ?"
        number = self.store.rows(query, (owner.id, item.key))[0]["id"]
        queue = LabelQueue(self.store, owner, labeller)
        assignment = queue.open_item(number, tuple(range(owner.k)))
        queue.finish(assignment.id, key, answer)
        self._count(batch, 1)

    def _count(self, batch: str, new: int) -> None:
        if new:
            self.summary.added[batch] += 1
        else:
            self.summary.repeated += 1


def _key(messages: Conversation, outputs: tuple[str, ...]) -> str:
    text = json.dumps([[m.to_json() for m in messages], outputs], ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:32]


def chat_offers(store: Store) -> Iterator[tuple[Conversation, tuple[str, ...], tuple[str, ...]]]:
    """Yield (prompt, answers, models) of every question in our chats that was answered more than once.

    An edited or regenerated answer is an offer to be ranked, not a label: that it came later says nothing.
    """
    query = (
        "SELECT min(m.id) AS first FROM messages m JOIN conversations c ON c.id = m.conversation_id WHERE"
        " c.deleted_at IS NULL AND m.role = 'assistant' AND m.state = 'done' GROUP BY m.parent_id"
        " HAVING count(DISTINCT m.content) > 1 ORDER BY first"
    )
    for row in store.rows(query):
        message = store.message(row["first"])
        versions = [store.message(number) for number in message.versions]
        answers = {m.content: m.model for m in versions if m.role == "assistant" and m.state == "done"}
        prompt = tuple(Message(m.role, m.content) for m in store.history(message.id))
        yield prompt, tuple(answers)[:9], tuple(answers.values())[:9]


def _import_chats(store: BatchStore, path: Path, name: str) -> ImportSummary:
    summary = ImportSummary(shapes=Counter({"our chats": 1}))
    chats = Store(path)
    reader = _Reader(store, name, "chats", lambda _: None)
    with store.transaction():
        for prompt, answers, models in chat_offers(chats):
            summary.rows += 1
            sources = tuple(OutputSource(model=model) for model in models)
            batch = reader.batch("rank", len(answers))
            new = store.add_items(batch, [NewItem(prompt=prompt, outputs=answers, sources=sources)])
            summary.added.update({batch: new} if new else {})
            summary.repeated += not new
    chats.close()
    return summary
