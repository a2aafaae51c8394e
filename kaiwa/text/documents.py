"""Documents on disk: Parquet with one row per document, the shape that the corpus stage publishes.

    text · source · language · id · meta        meta is a JSON object as a string (Parquet has no free-form objects)

`dropped.parquet` has two more columns: why a document is not in the corpus, and the original of a duplicate.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kaiwa.core.artifact import Artifact
from kaiwa.core.errors import UserError
from kaiwa.text.records import Document, conversation, read_jsonl

SPLITS = ("train", "validation")
ROW_GROUP = 4096  # rows; fixed, so that the same documents are the same bytes


def write_documents(
    path: Path, documents: Sequence[Document], extra: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Write documents in the order given. `extra` has further string columns, one value for each document."""
    import pyarrow as pa
    from pyarrow import parquet

    columns: dict[str, Any] = {
        "text": [d.text for d in documents],
        "source": [d.source for d in documents],
        "language": [d.language for d in documents],
        "id": [d.id for d in documents],
        "meta": [json.dumps(dict(d.meta), ensure_ascii=False, sort_keys=True) for d in documents],
        **{name: list(values) for name, values in (extra or {}).items()},
    }
    table = pa.table({name: pa.array(values, type=pa.large_string()) for name, values in columns.items()})
    parquet.write_table(table, path, compression="zstd", row_group_size=ROW_GROUP)


def read_documents(artifact: Artifact | Path, split: str = "train") -> Iterator[Document]:
    """Yield the documents of a corpus artifact (or of the artifact's folder) in their published order.

    UserError when the split is not one of `train` and `validation`, or its file is missing.
    """
    folder = artifact.path if isinstance(artifact, Artifact) else artifact
    if split not in SPLITS:
        raise UserError(f"split {split!r} is unknown; use {' or '.join(SPLITS)}")
    file = folder / f"{split}.parquet"
    if not file.is_file():
        raise UserError(f"{file}: missing; give a folder that `kaiwa corpus` published")
    yield from (document for document, _ in _read_rows(file))


def _read_rows(file: Path) -> Iterator[tuple[Document, dict[str, str]]]:
    from pyarrow import parquet

    with parquet.ParquetFile(file) as source:
        for batch in source.iter_batches(batch_size=ROW_GROUP):
            for row in batch.to_pylist():
                meta = json.loads(row["meta"])
                yield (
                    Document(text=row["text"], source=row["source"], language=row["language"], id=row["id"], meta=meta),
                    row,
                )


def read_records(path: Path) -> Iterator[Document]:
    """Yield documents from a JSONL file of records ({"text", "source"?, "language"?, "id"?, "meta"?}).

    `meta.messages`, where given, must be a list of messages. UserError names file and record otherwise.
    """
    for number, row in enumerate(read_jsonl(path), 1):
        if not isinstance(row.get("text"), str):
            raise UserError(f'{path}: record {number} has no "text"')
        meta = row.get("meta") or {}
        if not isinstance(meta, dict):
            raise UserError(f"{path}: record {number}: meta must be an object, got {type(meta).__name__}")
        if "messages" in meta:
            try:
                conversation(meta["messages"])
            except UserError as error:
                raise UserError(f"{path}: record {number}: {error}") from None
        yield Document(
            text=row["text"],
            source=str(row.get("source") or path.stem),
            language=str(row.get("language") or ""),
            id=str(row.get("id") or f"{path.name}#{number}"),
            meta=meta,
        )
