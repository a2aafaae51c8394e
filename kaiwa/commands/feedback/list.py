"""kaiwa feedback list: the batches, or one batch's labellers and agreement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kaiwa.commands.console import table
from kaiwa.commands.feedback import open_store
from kaiwa.commands.options import Positional, arg, read_options


@dataclass(kw_only=True)
class Options:
    """List the batches, newest first; with BATCH, its labellers: done, pace, agreement, screening."""

    batch: Positional[Annotated[str, arg(metavar="BATCH")]] = ""


def main(words: list[str]) -> None:
    """Print the table."""
    options = read_options(Options, "kaiwa feedback list", words)
    from kaiwa.feedback.overview import overview

    store = open_store()
    if not options.batch:
        rows = [["batch", "to", "for", "K", "items", "labels", "state"]]
        for batch in store.batches():
            view = overview(store, batch)
            labels = f"{view.n_labels:,} of {view.n_wanted:,}"
            state = "open" if batch.is_open else "closed"
            rows.append([batch.name, batch.task, batch.purpose, str(batch.k), f"{view.n_items:,}", labels, state])
        print(
            table(rows) if rows[1:] else "no batch yet; make one with kaiwa feedback new, or kaiwa feedback import FILE"
        )
        return
    view = overview(store, store.batch(options.batch))
    rows = [["labeller", "done", "skipped", "seconds", "agreement with others", "screening", ""]]
    for one in view.labellers:
        figures = [f"{x.mean:.0%} [{x.low:.0%}, {x.high:.0%}]" if x.n else "" for x in (one.others, one.screening)]
        mark = "agrees too little with the known ranks" if one.flagged else "link revoked" if one.revoked else ""
        rows.append([one.name, str(one.done), str(one.skipped), f"{one.median_seconds:.0f}", *figures, mark])
    print(f"{options.batch}: {view.n_labels:,} of {view.n_wanted:,} labels on {view.n_items:,} items")
    print(table(rows) if rows[1:] else "nobody has begun")
