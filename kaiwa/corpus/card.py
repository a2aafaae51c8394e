"""The corpus card: documents read, kept and dropped, with reasons. card.json is for programs, card.md for people."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kaiwa.corpus.config import CorpusConfig, Source
from kaiwa.text.records import Document


def n_bytes(documents: Sequence[Document]) -> int:
    """Return the number of UTF-8 bytes of all texts."""
    return sum(len(d.text.encode("utf-8")) for d in documents)


def shown_path(source: Source) -> str:
    """Return a source's path for the card, without folders: the same corpus has other folders on another machine."""
    scheme, colon, rest = source.path.partition(":")
    if scheme in ("builtin", "hf"):
        return source.path
    return scheme + colon + Path(rest).name if scheme == "records" else Path(source.path).name


def make_card(
    config: CorpusConfig,
    splits: Mapping[str, Sequence[Document]],
    dropped: Sequence[tuple[Document, str]],
    repaired: Mapping[str, int],
    problems: Mapping[str, int],
) -> dict[str, Any]:
    """Return counts by source, language and reason, and each source's share and repeats in one pass of the mixture."""
    train, validation = splits["train"], splits["validation"]
    total = n_bytes(train)
    sources = {}
    weights = sum(s.weight for s in config.sources)
    for source in config.sources:
        training = [d for d in train if d.source == source.name]
        held_out = [d for d in validation if d.source == source.name]
        reasons = Counter(reason for d, reason in dropped if d.source == source.name)
        size = n_bytes(training)
        share = source.weight / weights if weights else size / max(1, total)
        sources[source.name] = {
            "path": shown_path(source),
            "kind": source.kind,
            "trusted": source.trusted,
            "documents": len(training) + len(held_out) + sum(reasons.values()),
            "train_documents": len(training),
            "train_bytes": size,
            "validation_documents": len(held_out),
            "validation_bytes": n_bytes(held_out),
            "dropped": dict(sorted(reasons.items())),
            "repaired": repaired.get(source.name, 0),
            "weight": source.weight,
            "mix_share": round(share, 6),
            "mix_repeats": round(share * total / size, 4) if size else 0.0,
        }
    languages = {}
    for language in sorted({d.language for d in train}):
        training = [d for d in train if d.language == language]
        languages[language] = {"documents": len(training), "bytes": n_bytes(training)}
    return {
        "documents": {"train": len(train), "validation": len(validation), "dropped": len(dropped)},
        "bytes": {"train": total, "validation": n_bytes(validation)},
        "sources": sources,
        "languages": languages,
        "reasons": dict(sorted(Counter(reason for _, reason in dropped).items())),
        "problems": dict(sorted(problems.items())),
        "python": platform.python_version() if any(s.path.startswith("builtin:") for s in config.sources) else "",
    }


def markdown(card: Mapping[str, Any]) -> str:
    """Return the card as a Markdown page."""
    documents, size = card["documents"], card["bytes"]
    lines = [
        "# Corpus card",
        "",
        f"{documents['train']:,} documents ({size['train']:,} bytes) to train on, {documents['validation']:,} "
        f"({size['validation']:,} bytes) held out, {documents['dropped']:,} dropped (`dropped.parquet`).",
        "",
        "| source | from | read | train | bytes | held out | dropped | repaired | share of the mix | repeats |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, s in card["sources"].items():
        lines.append(
            f"| {name}{' (trusted)' if s['trusted'] else ''} | `{s['path']}` | {s['documents']:,} "
            f"| {s['train_documents']:,} | {s['train_bytes']:,} | {s['validation_documents']:,} "
            f"| {sum(s['dropped'].values()):,} | {s['repaired']:,} | {s['mix_share']:.1%} | {s['mix_repeats']:.2f} |"
        )
    lines += ["", "| language | documents | bytes |", "|---|---:|---:|"]
    lines += [f"| {name} | {v['documents']:,} | {v['bytes']:,} |" for name, v in card["languages"].items()]
    if card["reasons"]:
        lines += ["", "| dropped because | documents |", "|---|---:|"]
        lines += [f"| {reason} | {n:,} |" for reason, n in card["reasons"].items()]
    if card["problems"]:
        lines += ["", "| could not be read | places |", "|---|---:|"]
        lines += [f"| {kind} | {n:,} |" for kind, n in card["problems"].items()]
    trusted = [name for name, s in card["sources"].items() if s["trusted"]]
    if trusted:
        lines += ["", f"Trusted sources ({', '.join(trusted)}) skip repair, filters and the near-duplicate search."]
    if card["python"]:
        lines += ["", f"The built-in sources are those of Python {card['python']}."]
    return "\n".join(lines) + "\n"
