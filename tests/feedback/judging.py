"""Small batches for tests, and a labeller who answers from the texts of the outputs."""

from pathlib import Path

from kaiwa.feedback.batch_records import Assignment, ItemAnswer, NewItem, OutputSource
from kaiwa.feedback.batch_store import BatchStore
from kaiwa.feedback.label_queue import LabelQueue
from kaiwa.text.records import Message


def asked(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


def item(number: int, k: int = 4, known: bool = False) -> NewItem:
    """An item whose outputs say their own quality: "answer 0 …" is the best."""
    return NewItem(
        prompt=asked(f"question {number}"),
        outputs=tuple(f"answer {i} to {number}" for i in range(k)),
        sources=tuple(OutputSource(model=f"secret-model-{i}", seed=number) for i in range(k)),
        known_ranks=tuple(range(k)) if known else (),
    )


def batch_store(folder: Path, n: int = 6, *, k: int = 4, screening: int = 0, **options: object) -> BatchStore:
    store = BatchStore(folder / "conversations.sqlite")
    store.create("first", k=k, **options)  # type: ignore[arg-type]
    store.add_items("first", [item(i, k, known=i < screening) for i in range(n + screening)])
    return store


def queue(store: BatchStore, labeller: str, batch: str = "first") -> LabelQueue:
    return LabelQueue(store, store.batch(batch), labeller)


def honest(assignment: Assignment) -> ItemAnswer:
    """Ranks by the number in each output's text."""
    quality = [int(text.split()[1]) for text in assignment.outputs]
    return ItemAnswer(
        ratings=tuple(7 - min(q, 6) for q in quality),
        flags=tuple("m" if q == len(quality) - 1 else "" for q in quality),
        ranks=tuple(quality),
        seconds=20.0,
    )


def label_all(queue_: LabelQueue, most: int = 1000) -> int:
    """ItemAnswer every item of a queue honestly; return how many."""
    for n in range(most):
        assignment = queue_.next()
        if assignment is None:
            return n
        queue_.finish(assignment.id, f"{queue_.labeller}-{assignment.id:08}", honest(assignment))
    return most
