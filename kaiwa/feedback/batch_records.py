"""The records of judging: a batch, an item, what a labeller sees, and what a labeller answers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from kaiwa.core.errors import UserError
from kaiwa.feedback.ranking import MOST_OUTPUTS
from kaiwa.text.records import Conversation, Message

Kind = Literal["rank", "rate", "demonstrate", "arena"]
Purpose = Literal["training", "evaluation"]
KINDS: tuple[Kind, ...] = ("rank", "rate", "demonstrate", "arena")
PURPOSES: tuple[Purpose, ...] = ("training", "evaluation")
BATCH_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
MOST_NAME = 40  # characters of a labeller's name
MOST_LABELS = 100  # wanted of one item
BEST_RATING = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Items to be judged together. task: "rank" (rate and rank k outputs), "rate" (rate one), "demonstrate" (write) or
    "arena" (votes between two models).

    n_labels: labellers wanted for each item. may_label: who may label; empty: whoever is invited. seed: of the blind
    orders. instruction: the version of the sheet that holds now.
    """

    id: int
    name: str
    task: Kind
    purpose: Purpose
    instruction: str
    k: int
    n_labels: int
    may_label: tuple[str, ...]
    seed: int
    created: float
    is_open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSource:
    """Where an output comes from: hidden from labellers. seed, n_tokens: None where unknown."""

    model: str = ""
    seed: int | None = None
    n_tokens: int | None = None

    def to_json(self) -> dict[str, Any]:
        values = {"model": self.model, "seed": self.seed, "n_tokens": self.n_tokens}
        return {name: value for name, value in values.items() if value not in ("", None)}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewItem:
    """An item to be added: a prompt, its outputs ((): one is to be written), and what labellers do not see.

    known_ranks: of a screening item. meta: kept for the export, such as "ended". key: the same key twice in one batch
    is one item; "" makes one of the content.
    """

    prompt: Conversation
    outputs: tuple[str, ...] = ()
    sources: tuple[OutputSource, ...] = ()
    known_ranks: tuple[int, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchItem:
    """An item of a batch; number: its place in the batch, from 0."""

    id: int
    number: int
    prompt: Conversation
    outputs: tuple[str, ...]
    sources: tuple[OutputSource, ...]
    known_ranks: tuple[int, ...]
    meta: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemAnswer:
    """What a labeller says about an item; everything is in the order in which the outputs were shown.

    ratings: 1 to 7 each. flags, prompt_flags: letters of feedback/flags.py. ranks: 0 the best. messages: a
    demonstration. seconds: at work on the item. instruction: the version of the sheet that the labeller saw.
    """

    ratings: tuple[int, ...] = ()
    flags: tuple[str, ...] = ()
    prompt_flags: str = ""
    ranks: tuple[int, ...] = ()
    messages: Conversation = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    instruction: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """An item in a labeller's queue. outputs: in the shown order; order[i] is the item's output at place i.

    answer: the newest one, in the shown order, or None. state: "open", "done" or "skipped".
    """

    id: int
    item: int
    place: int
    prompt: Conversation
    outputs: tuple[str, ...]
    order: tuple[int, ...]
    state: str
    answer: ItemAnswer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """Something a labeller did on the way: "undo", "change", "skip"; key: the browser's, the same key twice is one."""

    key: str
    kind: str
    detail: str = ""
    at: float = 0.0  # seconds since 1970, by the browser's clock


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueProgress:
    """Where a labeller stands. median_seconds: of the finished items, 0 for none."""

    done: int
    skipped: int
    remaining: int
    median_seconds: float

    @property
    def total(self) -> int:
        """The items done and those that can still be done."""
        return self.done + self.remaining


def check_batch_name(name: str) -> str:
    """Return a batch's name. UserError for one that cannot stand in an address."""
    if not BATCH_NAME.fullmatch(name):
        raise UserError(f"batch {name!r:.60}: 1 to 40 small letters, digits, - and _, as first-round", field="batch")
    return name


def check_labeller(name: str) -> str:
    """Return a labeller's name, without outer spaces. UserError for one that is empty, too long or no name."""
    name = unicodedata.normalize("NFC", name).strip()
    if not 1 <= len(name) <= MOST_NAME:
        raise UserError(
            f"labeller {name[:40]!r}: a name has 1 to {MOST_NAME} characters, not {len(name)}", field="name"
        )
    wrong = next(
        (c for c in name if not (c.isalnum() or c in " ._-'" or unicodedata.category(c) in ("Mn", "Mc"))), None
    )
    if wrong is not None:
        raise UserError(f"labeller {name[:40]!r}: {wrong!r} cannot be in a name; letters and digits can", field="name")
    return name


def check_k(task: str, k: int) -> None:
    """Check a batch's number of outputs. UserError with the limits."""
    least, most = {"rank": (2, MOST_OUTPUTS), "arena": (2, 2), "rate": (1, 1)}.get(task, (0, 0))
    if not least <= k <= most:
        limits = f"{least} to {most}" if least < most else str(least)
        raise UserError(f"K = {k}: a batch to {task} has {limits} outputs an item", field="k")


def check_outputs(outputs: Sequence[str], k: int) -> None:
    """Check an item's outputs. UserError for a wrong number. An empty one is a model's that ended at once."""
    if len(outputs) != k:
        raise UserError(f"{len(outputs)} outputs where the batch has K = {k}", field="outputs")


def messages_from_json(values: Sequence[Mapping[str, Any]]) -> Conversation:
    """Return messages as the database holds them."""
    known = ("role", "content", "weight")
    return tuple(
        Message(v["role"], v["content"], v.get("weight", 1.0), {k: x for k, x in v.items() if k not in known})
        for v in values
    )
