"""Token shards as the tokenizer stage writes them: one flat file of tokens a split, and where each document lies.

train.bin, validation.bin   uint16 (uint32 above 65,535 tokens), documents one after the other
index.npz                   for each split: offsets [n+1] (tokens), source [n] (number of its source)
shards.json                 names of the sources and their weights in the mixture
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from kaiwa.core.errors import UserError
from kaiwa.train.rows import Mixture, Rows, TokenStream


class Shards:
    def __init__(self, folder: Path) -> None:
        card = json.loads((folder / "shards.json").read_text(encoding="utf-8"))
        self.sources: list[str] = card["sources"]
        self.weights: dict[str, float] = card["weights"]
        self.index = np.load(folder / "index.npz")
        dtype = np.dtype(card["dtype"])
        self.tokens = {s: np.memmap(folder / f"{s}.bin", dtype, "r") for s in ("train", "validation")}

    def documents(self, split: str, source: str) -> tuple[np.ndarray, np.ndarray]:
        """tokens [N] and offsets [n+1] of one source's documents, copied out of the shard."""
        if source not in self.sources:
            raise UserError(f"no source {source!r} in these shards; there is {', '.join(self.sources)}")
        offsets, which = self.index[f"{split}_offsets"], self.index[f"{split}_source"]
        chosen = np.flatnonzero(which == self.sources.index(source))
        pieces = [np.asarray(self.tokens[split][offsets[i] : offsets[i + 1]]) for i in chosen]
        lengths = [len(p) for p in pieces]
        flat = np.concatenate(pieces) if pieces else np.zeros(0, np.uint16)
        return flat, np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)

    def mixture(self, width: int, seed: int, weights: dict[str, float] | None = None) -> Mixture:
        """Training rows of every source (or those named), by weight."""
        weights = weights or self.weights
        streams = [TokenStream(*self.documents("train", name), width, seed, name) for name in weights]
        return Mixture(streams, list(weights.values()))

    def held_out(self, source: str, width: int, n_rows: int) -> Rows:
        """The first rows of a source's validation text, always the same (fewer when there is not enough text)."""
        tokens, offsets = self.documents("validation", source)
        width = min(width, max(2, len(tokens)))
        if len(tokens) < 2:
            raise UserError(f"source {source!r} has no validation text; give more documents or a larger share")
        stream = TokenStream(tokens, offsets, width, 0, source)
        parts = [stream.next() for _ in range(min(n_rows, stream.n_rows))]
        ids, segments, positions = (np.stack(part) for part in zip(*parts, strict=True))
        return Rows(ids, segments, positions, np.ones(ids.shape, np.float32))
