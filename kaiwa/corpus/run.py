"""The corpus stage: sources in, one artifact of documents out.

    read → extract → repair → identify → filter → sign   (in batches, by any number of processes: `process`)
         → exact duplicates → near duplicates → split → train, validation and dropped documents, card

All documents are held in memory (about four times the text), which suits up to some hundred megabytes. The stage takes
seconds and has no checkpoint: after a stop it starts from the beginning.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

from kaiwa.core.artifact import Artifact, Plan, finished, open_artifact, publish
from kaiwa.core.context import Context, Progress
from kaiwa.core.errors import UserError
from kaiwa.core.machine import cores
from kaiwa.corpus import builtin, dedup
from kaiwa.corpus.card import make_card, markdown, n_bytes, shown_path
from kaiwa.corpus.config import CorpusConfig, Source
from kaiwa.corpus.problems import Problems
from kaiwa.corpus.process import Cleaned, clean_all, open_pool
from kaiwa.corpus.raw import Raw
from kaiwa.corpus.read import list_files, read_source
from kaiwa.corpus.split import split
from kaiwa.text.documents import write_documents
from kaiwa.text.records import Document

POOL_PAYS = 1 << 20  # bytes to clean; for less, starting processes costs more time than they save


def run(config: CorpusConfig, ctx: Context, *, out: Path) -> Artifact:
    """Build the corpus at `out` (kind "corpus"): train, validation and dropped.parquet, card.json, card.md.

    The manifest's parents are the sources with a hash of their bytes, so that changed text builds a new corpus.
    UserError for a source that cannot be read or a corpus too small to train on.
    """
    parents = {f"source:{s.name}": fingerprint(s) for s in config.sources if not s.path.startswith("hf:")}
    plan = Plan("corpus", _identity(config), parents, ctx.seed)
    done = finished(out, plan, ctx.say)
    if done is not None:
        return done
    started = time.monotonic()
    problems = Problems(ctx.say, config.strict)
    with publish(out, plan) as work:
        cleaned = _clean_sources(config, ctx, problems)
        unique, dropped = _without_duplicates(cleaned, config, ctx)
        train, validation = split(unique, config.validation_share)
        _check_size(train, dropped, config)
        write_documents(work.path / "train.parquet", train)
        write_documents(work.path / "validation.parquet", validation)
        extra = {"reason": [r for _, r, _ in dropped], "duplicate_of": [i for _, _, i in dropped]}
        write_documents(work.path / "dropped.parquet", [d for d, _, _ in dropped], extra)
        repaired = Counter(c.document.source for c in cleaned if c.repaired)
        reasons = [(d, r) for d, r, _ in dropped]
        card = make_card(config, {"train": train, "validation": validation}, reasons, repaired, problems.counts)
        (work.path / "card.json").write_text(json.dumps(card, indent=1, ensure_ascii=False), encoding="utf-8")
        (work.path / "card.md").write_text(markdown(card), encoding="utf-8")
        work.metrics.update({k: card[k] for k in ("documents", "bytes", "reasons", "problems")})
        work.metrics["megabytes_per_second"] = round(card["bytes"]["train"] / 1e6 / (time.monotonic() - started), 3)
        ctx.metrics("corpus").log(
            len(config.sources),
            documents=len(train),
            train_bytes=card["bytes"]["train"],
            validation_bytes=card["bytes"]["validation"],
            dropped=len(dropped),
            seconds=round(time.monotonic() - started, 3),
        )
    return open_artifact(out, "corpus")


def _identity(config: CorpusConfig) -> CorpusConfig:
    """Return the part of the configuration that decides the bytes: without workers and the folders of the sources."""
    sources = tuple(replace(s, path=shown_path(s)) for s in config.sources)
    return replace(config, workers=0, sources=sources)


def fingerprint(source: Source) -> Artifact:
    """Return the source as a parent: the hash of its files' bytes, or Python's version for a built-in source."""
    if source.path.startswith("builtin:"):
        return Artifact(Path(source.path), {"hash": f"python-{platform.python_version()}"})
    total = hashlib.sha256()
    root = Path(source.path.removeprefix("records:"))
    for file in list_files(source):
        with open(file, "rb") as f:
            total.update(f"{file.relative_to(root) if file != root else file.name}\0".encode())
            total.update(hashlib.file_digest(f, "sha256").digest())
    return Artifact(root, {"hash": total.hexdigest()})


def _clean_sources(config: CorpusConfig, ctx: Context, problems: Problems) -> list[Cleaned]:
    workers = config.workers or ctx.threads or cores()
    pays = workers > 1 and sum(_rough_size(s) for s in config.sources) >= POOL_PAYS
    everything: list[Cleaned] = []
    log = ctx.metrics("corpus")
    log.cut(0)
    with open_pool(workers) if pays else nullcontext() as pool:
        for n, source in enumerate(config.sources):
            helpers = None if source.trusted else pool  # trusted text: sending it out costs more than the work
            documents = list(_clean_source(source, config, ctx, problems, pool=helpers, workers=workers, n=n))
            n_clean = sum(not c.reason for c in documents)
            log.log(n, source=source.name, read=len(documents), kept=n_clean)
            if not documents:
                raise UserError(f"source {source.name}: {source.path} holds no document; see the lines above")
            everything += documents
    return _unique_ids(everything, problems)


def _clean_source(
    source: Source,
    config: CorpusConfig,
    ctx: Context,
    problems: Problems,
    *,
    pool: ProcessPoolExecutor | None,
    workers: int,
    n: int,
) -> Iterator[Cleaned]:
    size = 0
    for batch, counts in clean_all(
        _open(source, config, problems), source, config, pool=pool, workers=workers, problems=problems
    ):
        ctx.check_stop()
        for cleaned in batch:
            yield cleaned
            size += 0 if cleaned.reason else len(cleaned.document.text.encode("utf-8"))
            if source.max_bytes and size >= source.max_bytes:
                problems.counts = counts  # not those of later batches already read ahead
                return
        ctx.show(Progress("corpus", n, len(config.sources), f"{source.name}: {size / 1e6:.1f} MB"))


def _open(source: Source, config: CorpusConfig, problems: Problems) -> Iterable[Raw]:
    if source.path == "builtin:docs":
        return builtin.read_docs(source.name)
    if source.path == "builtin:code":
        return builtin.read_code(source.name)
    return read_source(source, config, problems)


def _rough_size(source: Source) -> int:
    """Return roughly the bytes to clean, to decide whether processes pay; 0 for trusted text, which costs little."""
    if source.trusted:
        return 0
    if source.path.startswith(("builtin:", "hf:")):
        return source.max_bytes or 1 << 22
    files = sum(file.stat().st_size for file in list_files(source))
    return min(files, source.max_bytes) if source.max_bytes else files


def _unique_ids(cleaned: list[Cleaned], problems: Problems) -> list[Cleaned]:
    """Return the same documents with unique ids: a number is appended to a repeated id, which is reported."""
    counts: Counter[str] = Counter()
    unique = []
    for c in cleaned:
        id = c.document.id
        counts[id] += 1
        if counts[id] > 1:
            problems.report("repeated_id", c.document.source, f"source {c.document.source}", f"id {id!r} occurs twice")
            c = replace(c, document=replace(c.document, id=f"{id}~{counts[id]}"))
        unique.append(c)
    return unique


def _without_duplicates(
    cleaned: list[Cleaned], config: CorpusConfig, ctx: Context
) -> tuple[list[Document], list[tuple[Document, str, str]]]:
    """Return (kept documents, [(dropped document, reason, id of the first kept duplicate)]), both in corpus order."""
    first_of: dict[bytes, str] = {}
    reasons: dict[int, tuple[str, str]] = {}
    for i, c in enumerate(cleaned):
        if c.reason:
            reasons[i] = (c.reason, "")
        elif c.key in first_of:
            reasons[i] = ("duplicate", first_of[c.key])
        else:
            first_of[c.key] = c.document.id
    ctx.check_stop()
    signed = [i for i, c in enumerate(cleaned) if c.signature is not None and i not in reasons]
    if signed:

        def similar(x: int, y: int) -> bool:
            """Return whether two documents are near duplicates."""
            a, b = cleaned[signed[x]].document, cleaned[signed[y]].document
            sets = (dedup.shingles(d.text, d.language, config.dedup) for d in (a, b))
            return a.language == b.language and dedup.jaccard(*sets) >= config.dedup.threshold

        signatures = np.stack([s for i in signed if (s := cleaned[i].signature) is not None])
        for x, first in enumerate(dedup.near_duplicates(signatures, config.dedup, similar)):
            if first != x:
                reasons[signed[x]] = ("near_duplicate", cleaned[signed[first]].document.id)
    unique = [c.document for i, c in enumerate(cleaned) if i not in reasons]
    return unique, [(cleaned[i].document, *reasons[i]) for i in sorted(reasons)]


def _check_size(train: list[Document], dropped: list[tuple[Document, str, str]], config: CorpusConfig) -> None:
    size = n_bytes(train)
    if size < config.min_train_bytes:
        why = ", ".join(f"{n} {reason}" for reason, n in Counter(r for _, r, _ in dropped).most_common(4))
        raise UserError(
            f"the corpus has {size:,} bytes to train on, at least {config.min_train_bytes:,} are needed "
            f"(dropped: {why or 'nothing'}); add text with --source PATH"
        )
