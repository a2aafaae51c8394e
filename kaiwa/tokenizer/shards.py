"""Token shards: the corpus as token ids on disk, memory-mapped in training.

    train.bin, validation-SOURCE.bin   ids, uint16 (uint32 above 65,535 tokens), each document ended by <|endoftext|>
    index.npz                          for each shard "SHARD.offsets" [documents + 1] in tokens, "SHARD.source"
                                       [documents] an index into "sources", "SHARD.language" into "languages",
                                       "SHARD.n_bytes" [documents] UTF-8 bytes of the text; "weights" [sources]

Document i is tokens[offsets[i]:offsets[i + 1]], including its end token. Held-out text is always plain (no chat
template), so that bits per byte can be compared between runs: nats of a document / ln 2 / n_bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.core.rng import seed_for
from kaiwa.text.records import Document, conversation
from kaiwa.text.template import plain_text, render_batch
from kaiwa.tokenizer.tokenizer import Tokenizer

INDEX = "index.npz"


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard, memory-mapped. Document i is `tokens[offsets[i]:offsets[i + 1]]`."""

    name: str
    tokens: NDArray[Any]
    offsets: NDArray[np.int64]
    source: NDArray[np.int16]
    language: NDArray[np.int16]
    n_bytes: NDArray[np.int64]
    sources: tuple[str, ...]
    languages: tuple[str, ...]
    weights: tuple[float, ...]  # one per source, summing to 1; all 0: each source in proportion to its size

    def __len__(self) -> int:
        return len(self.source)

    def document(self, i: int) -> NDArray[Any]:
        """Return the ids [n] of document i, including its end token."""
        return self.tokens[self.offsets[i] : self.offsets[i + 1]]

    def lengths(self) -> NDArray[np.int64]:
        """Return the number of tokens of each document [documents]."""
        return np.diff(self.offsets)


def shard_names(folder: Path) -> list[str]:
    """Return the names of the shards in a folder: "train" and "validation-SOURCE"."""
    with np.load(_index(folder)) as index:
        return sorted(key.removesuffix(".offsets") for key in index.files if key.endswith(".offsets"))


def open_shard(folder: Path, name: str = "train") -> Shard:
    """Open a shard of a tokenizer artifact's folder. UserError if missing or not as long as the index states."""
    with np.load(_index(folder)) as index:
        names = [key.removesuffix(".offsets") for key in index.files if key.endswith(".offsets")]
        if name not in names:
            raise UserError(f"{folder}: no shard {name!r}{did_you_mean(name, names)}")
        offsets = index[f"{name}.offsets"]
        dtype = np.dtype(str(index["dtype"]))
        file = folder / f"{name}.bin"
        if not file.is_file() or file.stat().st_size != int(offsets[-1]) * dtype.itemsize:
            raise UserError(f"{file}: missing or not as long as its index states; build the tokenizer stage again")
        return Shard(
            name=name,
            tokens=np.memmap(file, dtype=dtype, mode="r"),
            offsets=offsets,
            source=index[f"{name}.source"],
            language=index[f"{name}.language"],
            n_bytes=index[f"{name}.n_bytes"],
            sources=tuple(map(str, index["sources"])),
            languages=tuple(map(str, index["languages"])),
            weights=tuple(map(float, index["weights"])),
        )


def _index(folder: Path) -> Path:
    if not (folder / INDEX).is_file():
        raise UserError(f"{folder / INDEX}: missing; give a folder that `kaiwa tokenizer` published")
    return folder / INDEX


def write_shards(
    folder: Path,
    tokenizer: Tokenizer,
    splits: Mapping[str, Sequence[Document]],
    weights: Mapping[str, float],
    *,
    chat_share: float,
    seed: int,
) -> dict[str, int]:
    """Encode the documents of "train" and "validation" into shards. Return the number of tokens in each."""
    sources = sorted({d.source for documents in splits.values() for d in documents} | set(weights))
    languages = sorted({d.language for documents in splits.values() for d in documents})
    dtype = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
    index: dict[str, Any] = {
        "sources": np.array(sources),
        "languages": np.array(languages),
        "weights": np.array([weights.get(s, 0.0) for s in sources], dtype=np.float64),
        "dtype": np.array(np.dtype(dtype).name),
    }
    shards = {"train": list(splits["train"])}
    for source in sources:
        documents = [d for d in splits["validation"] if d.source == source]
        if documents:
            shards[f"validation-{source}"] = documents
    counts = {}
    for name, documents in shards.items():
        share = chat_share if name == "train" else 0.0
        ids, n_bytes = _encode(tokenizer, documents, share, seed)
        offsets = np.zeros(len(ids) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in ids], out=offsets[1:])
        flat = np.fromiter((i for row in ids for i in row), dtype=dtype, count=int(offsets[-1]))
        flat.tofile(folder / f"{name}.bin")
        index[f"{name}.offsets"] = offsets
        index[f"{name}.source"] = np.array([sources.index(d.source) for d in documents], dtype=np.int16)
        index[f"{name}.language"] = np.array([languages.index(d.language) for d in documents], dtype=np.int16)
        index[f"{name}.n_bytes"] = np.array(n_bytes, dtype=np.int64)
        counts[name] = int(offsets[-1])
    np.savez(folder / INDEX, **index)
    return counts


def _encode(
    tokenizer: Tokenizer, documents: Sequence[Document], chat_share: float, seed: int
) -> tuple[list[list[int]], list[int]]:
    """Return each document's ids with its end token, and its number of UTF-8 bytes. seed: selects the chats."""
    chats = {i for i, d in enumerate(documents) if d.meta.get("messages") and _drawn(seed, d.id) < chat_share}
    talks = {i: conversation(documents[i].meta["messages"]) for i in sorted(chats)}
    rendered = render_batch(tokenizer, list(talks.values()))
    plain = [i for i in range(len(documents)) if i not in chats]
    encoded = tokenizer.encode_batch([documents[i].text for i in plain])
    ids: dict[int, list[int]] = dict(zip(plain, encoded, strict=True))
    ids.update({i: r.ids for i, r in zip(talks, rendered, strict=True)})
    end = tokenizer.document_end_id
    texts = [plain_text(talks[i]) if i in talks else d.text for i, d in enumerate(documents)]
    return [[*ids[i], end] for i in range(len(documents))], [len(t.encode("utf-8")) for t in texts]


def _drawn(seed: int, id: str) -> float:
    return seed_for(seed, "chat", id) / 2**63
