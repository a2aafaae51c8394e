"""What is done to each document, in batches that processes share: extract, repair, identify, filter, sign.

A batch goes in and comes out in order, and nothing in here depends on another document, so the result is the same for
one process and for many.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kaiwa.core.errors import UserError
from kaiwa.corpus import dedup
from kaiwa.corpus.builtin import docstrings
from kaiwa.corpus.config import CorpusConfig, Source
from kaiwa.corpus.extract import main_text, repair, tidy
from kaiwa.corpus.filters import reason_to_drop
from kaiwa.corpus.language import identify
from kaiwa.corpus.problems import Problems
from kaiwa.corpus.raw import Raw
from kaiwa.text.records import Document

BATCH_BYTES = 1 << 18
AHEAD = 3  # batches in flight for each process


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A document after cleaning. `reason` is "" if it is kept; a signature only if near duplicates are looked for."""

    document: Document
    reason: str = ""
    repaired: bool = False
    key: bytes = b""
    signature: NDArray[np.uint32] | None = None


def clean_batch(batch: list[Raw], source: Source, config: CorpusConfig) -> list[Cleaned]:
    """Return the documents of a batch, in order. One page of docstrings becomes several, a page without main text
    none.
    """
    return [cleaned for raw in batch for part in _parts(raw) for cleaned in [_clean(*part, raw, source, config)]]


def _parts(raw: Raw) -> list[tuple[str, str]]:
    if raw.media == "html":
        body = raw.text if isinstance(raw.text, bytes) else raw.text.encode()
        return [(raw.id, main_text(body))]
    assert isinstance(raw.text, str)
    if raw.media == "docstrings":
        return [(raw.id + suffix, text) for suffix, text in docstrings(raw.text, raw.id.partition("/")[2])]
    return [(raw.id, raw.text)]


def _clean(id: str, text: str, raw: Raw, source: Source, config: CorpusConfig) -> Cleaned:
    code = source.kind == "code"
    bare = tidy(text)
    clean = bare if source.trusted or code else repair(text)
    language = source.language or raw.language or ("code" if code else identify(clean, config.languages))
    document = Document(text=clean, source=source.name, language=language, id=id, meta=raw.meta)
    repaired = clean != bare
    if not clean:
        return Cleaned(document, "no_main_text" if raw.media == "html" else "empty")
    if not source.trusted:
        if config.languages and language not in config.languages and not code:
            return Cleaned(document, "language", repaired)
        reason = reason_to_drop(clean, language, source.kind, config.filters)
        if reason is not None:
            return Cleaned(document, reason, repaired)
    signature = None
    if config.dedup.near and not source.trusted:
        signature = dedup.signature(dedup.shingles(clean, language, config.dedup), config.dedup)
    return Cleaned(document, "", repaired, dedup.exact_key(clean, loosely=not (code or source.trusted)), signature)


def batches(raws: Iterable[Raw]) -> Iterator[list[Raw]]:
    """Yield lists of documents of about BATCH_BYTES."""
    batch: list[Raw] = []
    size = 0
    for raw in raws:
        batch.append(raw)
        size += len(raw.text)
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def clean_all(
    raws: Iterable[Raw],
    source: Source,
    config: CorpusConfig,
    *,
    pool: ProcessPoolExecutor | None,
    workers: int,
    problems: Problems,
) -> Iterator[tuple[list[Cleaned], Counter[str]]]:
    """Yield cleaned batches in the order of `raws`, each with the problems counted when it had been read.

    Processes read ahead; a caller who stops early takes the counts of the last batch that it used.
    UserError when a process dies.
    """
    if pool is None:
        for batch in batches(raws):
            yield clean_batch(batch, source, config), problems.counts.copy()
        return
    flight: deque[tuple[Future[list[Cleaned]], Counter[str]]] = deque()
    try:
        for batch in batches(raws):
            flight.append((pool.submit(clean_batch, batch, source, config), problems.counts.copy()))
            if len(flight) > AHEAD * workers:
                future, counts = flight.popleft()
                yield future.result(), counts
        while flight:
            future, counts = flight.popleft()
            yield future.result(), counts
    except BrokenProcessPool:
        raise UserError(
            f"source {source.name}: a worker process died (memory, or a script of yours without "
            "`if __name__ == '__main__'`); run the same command with --workers 1"
        ) from None
    finally:
        for future, _ in flight:
            future.cancel()


def open_pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool whose processes end with this one, even if it is killed. Spawned, since a fork would copy
    running threads.
    """
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_follow_parent)


def _follow_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C and ends us
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        """End this process when its parent ends."""
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
