"""How quick the judging pages are: an item of a queue of 10,000 with 20 labellers, the owner's view of 50,000
judgements.

    python -m bench.people

Prints medians in milliseconds, with the machine's load at the time. Nothing is asserted.
"""

from __future__ import annotations

import os
import random
import statistics
import tempfile
import time
from pathlib import Path

from fastapi import FastAPI
from fastapi.testclient import TestClient

from kaiwa.feedback.batch_records import NewItem, OutputSource
from kaiwa.feedback.batch_store import BatchStore
from kaiwa.feedback.label_queue import LabelQueue
from kaiwa.feedback.overview import overview
from kaiwa.text.records import Message
from kaiwa.web.judging import Queues
from kaiwa.web.label import LabelPages, routes
from kaiwa.web.view import PageView

K, N_ITEMS, N_LABELLERS, N_JUDGEMENTS, TIMES = 6, 10_000, 20, 50_000, 50


def filled(folder: Path) -> BatchStore:
    """Return a store with one batch of N_ITEMS, a tenth of them for screening."""
    store = BatchStore(folder / "bench.sqlite")
    store.create("bench", k=K, n_labels=6)
    rng = random.Random(0)
    store.add_items(
        "bench",
        (
            NewItem(
                prompt=(Message("user", f"question {i}"),),
                outputs=tuple("word " * rng.randrange(5, 60) for _ in range(K)),
                sources=tuple(OutputSource(model=f"model-{j}", seed=i) for j in range(K)),
                known_ranks=tuple(range(K)) if i % 10 == 0 else (),
            )
            for i in range(N_ITEMS)
        ),
    )
    return store


def judge(store: BatchStore, n: int) -> None:
    """Write n judgements of N_LABELLERS people straight into the tables."""
    batch, rng = store.batch("bench"), random.Random(1)
    with store.transaction() as db:
        for number in range(n):
            item, person = number // 5 % N_ITEMS + 1, f"person {(number * 3 + number // 5 * 7) % N_LABELLERS}"
            ranks = "".join(map(str, rng.sample(range(K), K)))
            row = db.execute(
                "INSERT INTO assignments (item_id, batch_id, labeller, place, display, state, opened, done)"
                " VALUES (?,?,?,?,'012345','done',1,2) ON CONFLICT DO NOTHING",
                (item, batch.id, person, number),
            )
            if row.rowcount:
                db.execute(
                    "INSERT INTO judgements (key, assignment_id, ratings, flags, ranks, seconds, instruction, created)"
                    " VALUES (?,?,'123456',?,?,9,?,1)",
                    (f"key {number}", row.lastrowid, ",m,,fa,," if number % 3 else "", ranks, batch.instruction),
                )


def milliseconds(times: list[float]) -> str:
    return f"median {1000 * statistics.median(times):.0f} ms, longest {1000 * max(times):.0f} ms, n = {len(times)}"


def main() -> None:
    """Fill a store, time both, print the figures."""
    with tempfile.TemporaryDirectory() as name:
        store = filled(Path(name))
        batch = store.batch("bench")
        for person in range(N_LABELLERS):
            queue = LabelQueue(store, batch, f"person {person}")
            queue.next()
        app = FastAPI()
        app.include_router(routes(LabelPages(Queues(PageView(None), store))))  # type: ignore[arg-type]
        token, times = store.invite("bench", "somebody"), []
        with TestClient(app) as client:
            state = client.get(f"/label/q/{token}/item").json()
            for number in range(TIMES):
                body = {
                    "assignment": state["item"]["id"],
                    "key": f"bench-{number:05}",
                    "ratings": [4] * K,
                    "ranking": "abcdef",
                }
                started = time.perf_counter()
                state = client.post(f"/label/q/{token}/finish", json=body).json()
                times.append(time.perf_counter() - started)
        print(f"an answer and the next item, {N_ITEMS:,} items, {N_LABELLERS} labellers: {milliseconds(times)}")
        judge(store, N_JUDGEMENTS)
        times = []
        for _ in range(5):
            started = time.perf_counter()
            view = overview(store, batch)
            times.append(time.perf_counter() - started)
        print(f"the owner's figures of {view.n_labels:,} judgements on plain items: {milliseconds(times)}")
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
