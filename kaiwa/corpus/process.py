"""Cleaning of each document, in batches on several processes: extract, repair, identify, filter, sign.

Batches keep their order, and no document affects another, so the result does not depend on the number of processes.
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
    """A document after cleaning. reason: why to drop it, "" to keep it; signature: only for near-duplicate search."""

    document: Document
    reason: str = ""
    repaired: bool = False
    key: bytes = b""
    signature: NDArray[np.uint32] | None = None


def clean_batch(batch: list[Raw], source: Source, config: CorpusConfig) -> list[Cleaned]:
    """Return the cleaned documents of a batch, in order; a module of docstrings gives several documents."""
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
    """Yield cleaned batches in the order of `raws`, each with the problem counts up to the end of that batch.

    Later batches are already being read; a caller that stops early uses the counts of its last batch. UserError if a
    process dies.
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
    """Return a pool of processes that end when this process ends, also when this process is killed.

    The processes are spawned, since a fork would copy running threads.
    """
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_follow_parent)


def _follow_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and ends its workers
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        """End this process when its parent ends."""
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
