"""What counts of a batch: the newest judgement of every finished assignment, as records that the trainers read.

A ranking is a Comparison, a written dialogue a Demonstration. Records stand in the order of items and of labellers'
names and hold no times: the same judgements give the same bytes, whoever wrote them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.feedback.batch_records import Batch, BatchItem, ItemAnswer
from kaiwa.feedback.batch_store import BatchStore, item_of
from kaiwa.feedback.flags import OUTPUT_FLAGS, PROMPT_FLAGS, flag_names
from kaiwa.feedback.label_queue import answer_of
from kaiwa.feedback.ranking import from_digits
from kaiwa.text.records import Comparison, Conversation, Demonstration

NEWEST = (  # the judgement that counts for each finished assignment of a batch
    "FROM assignments a JOIN items i ON i.id = a.item_id JOIN judgements j ON j.id ="
    " (SELECT max(id) FROM judgements WHERE assignment_id = a.id) WHERE a.batch_id = ? AND a.state = 'done'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An item with a labeller's answer, in the order of the item's outputs; order: the one that the labeller saw."""

    item: BatchItem
    labeller: str
    answer: ItemAnswer
    order: tuple[int, ...]


def judged(store: BatchStore, batch: Batch, *, screening: bool = False) -> Iterator[Judged]:
    """Yield a batch's judgements in the order of items and labellers. screening: also of items with known ranks."""
    columns = "i.*, a.labeller, a.display, j.ratings, j.flags, j.prompt_flags, j.ranks, j.messages, j.meta AS spoken,"
    columns += " j.seconds, j.instruction"
    where = "" if screening else " AND i.known_ranks = ''"
    for row in store.rows(f"SELECT {columns} {NEWEST}{where} ORDER BY i.number, a.labeller", (batch.id,)):
        item = item_of(row)
        yield Judged(item=item, labeller=row["labeller"], answer=_answer(row, item), order=from_digits(row["display"]))


def _answer(row: sqlite3.Row, item: BatchItem) -> ItemAnswer:
    values = {name: row[name] for name in row.keys()} | {"meta": row["spoken"]}  # noqa: SIM118
    return answer_of(values, len(item.outputs))


def comparisons(store: BatchStore, batch: Batch, *, screening: bool = False) -> Iterator[Comparison]:
    """Yield a batch's rankings as comparisons, with ratings, flags, models and the sheet's version in `meta`."""
    if batch.task not in ("rank", "arena"):
        raise UserError(f"{batch.name} is a batch to {batch.task}: it holds no comparisons")
    for one in judged(store, batch, screening=screening):
        if one.answer.ranks:
            yield Comparison(
                prompt=one.item.prompt,
                completions=one.item.outputs,
                ranks=one.answer.ranks,
                labeller=one.labeller,
                meta=comparison_meta(batch, one),
            )


def comparison_meta(batch: Batch, one: Judged) -> dict[str, Any]:
    """Return what a comparison says besides ranks; only what is there."""
    if "imported" in one.answer.meta:
        return dict(one.answer.meta["imported"])
    flags = [flag_names(letters, OUTPUT_FLAGS) for letters in one.answer.flags]
    more: dict[str, Any] = {
        "ratings": list(one.answer.ratings),
        "flags": flags if any(flags) else [],
        "prompt_flags": flag_names(one.answer.prompt_flags, PROMPT_FLAGS),
        "models": [source.model for source in one.item.sources] if any(s.model for s in one.item.sources) else [],
    }
    meta = {"source": "people", "batch": batch.name, "purpose": batch.purpose, "instruction": one.answer.instruction}
    return {**one.item.meta, **meta, **{name: value for name, value in more.items() if value}, **one.answer.meta}


def demonstrations(store: BatchStore, batch: Batch) -> Iterator[Demonstration]:
    """Yield a batch's written dialogues; `meta.own_share` is the share of the assistant's words that are the
    writer's.
    """
    if batch.task != "demonstrate":
        raise UserError(f"{batch.name} is a batch to {batch.task}: it holds no demonstrations")
    for one in judged(store, batch):
        spoken = dict(one.answer.meta)
        meta = spoken.pop("imported", None)
        if meta is None:
            named = {"labeller": one.labeller, "instruction": one.answer.instruction}
            meta = {**one.item.meta, "source": "people", "batch": batch.name, **named, **spoken}
        yield Demonstration(messages=one.answer.messages, meta=meta, tools=tuple(one.answer.meta.get("tools", ())))


def rated(store: BatchStore, batch: Batch) -> Iterator[tuple[Conversation, str, Judged]]:
    """Yield prompt, output and judgement of a batch in which single outputs are rated."""
    for one in judged(store, batch):
        yield one.item.prompt, one.item.outputs[0], one


def records(store: BatchStore, name: str, *, screening: bool = False) -> Iterator[Comparison | Demonstration]:
    """Yield a batch's comparisons or demonstrations."""
    batch = store.batch(name)
    if batch.task == "demonstrate":
        yield from demonstrations(store, batch)
    else:
        yield from comparisons(store, batch, screening=screening)


def export_lines(store: BatchStore, name: str, *, screening: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the JSON records of a batch, as `reward`, `dpo` and `sft` read them."""
    batch = store.batch(name)
    if batch.task == "rate":
        for prompt, output, one in rated(store, batch):
            value = {"prompt": [m.to_json() for m in prompt], "completion": output, "rating": one.answer.ratings[0]}
            yield json.loads(json.dumps({**value, "labeller": one.labeller, "meta": comparison_meta(batch, one)}))
    else:
        yield from (record.to_json() for record in records(store, name, screening=screening))
