"""The token shards of the tokenizer stage as rows for training and evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.tokenizer.folder import check_tokens
from kaiwa.tokenizer.shards import Shard, open_shard, shard_names
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.train.rows import Mixture, Rows, TokenStream


class Shards:
    """The shards in a tokenizer artifact's folder, by source."""

    @classmethod
    def of_model(cls, folder: Path, tokenizer: Tokenizer, model: Path) -> Shards:
        """Open shards for a model. UserError where another tokenizer than the model's encoded them."""
        check_tokens(tokenizer, model, folder)
        return cls(folder)

    def __init__(self, folder: Path) -> None:
        self.train = open_shard(folder)
        prefix = "validation-"
        self.validation = {
            name.removeprefix(prefix): open_shard(folder, name)
            for name in shard_names(folder)
            if name.startswith(prefix)
        }

    @property
    def sources(self) -> list[str]:
        """Sources that have held-out text."""
        return sorted(self.validation)

    def mixture(
        self, width: int, seed: int, weights: Mapping[str, float] | None = None, in_order: Sequence[str] = ()
    ) -> Mixture:
        """Return training rows of the sources in `weights`, or of all sources by the corpus' weights."""
        present = [name for i, name in enumerate(self.train.sources) if (self.train.source == i).any()]
        if not weights:
            sizes = {name: float(len(source_tokens(self.train, name)[0])) for name in present}
            configured = dict(zip(self.train.sources, self.train.weights, strict=True))
            weights = configured if any(self.train.weights) else sizes
        for name in weights:
            if name not in present:
                raise UserError(f"the corpus has no source {name!r}{did_you_mean(name, present)}")
        streams = [
            TokenStream(*source_tokens(self.train, name), width, seed, name, in_order=name in in_order)
            for name in weights
        ]
        return Mixture(streams, list(weights.values()))

    def held_out(self, source: str, width: int, n_rows: int) -> Rows:
        """Return the first `n_rows` rows of a source's held-out text, or all rows if there are fewer."""
        if source not in self.validation:
            raise UserError(f"no held-out text of source {source!r}{did_you_mean(source, self.sources)}")
        tokens, offsets = source_tokens(self.validation[source], source)
        stream = TokenStream(tokens, offsets, min(width, len(tokens)), 0, source)
        parts = [stream.next() for _ in range(min(n_rows, stream.n_rows))]
        ids, segments, positions = (np.stack(part) for part in zip(*parts, strict=True))
        return Rows(ids, segments, positions, np.ones(ids.shape, np.float32))


def source_tokens(shard: Shard, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens [N] and offsets [n + 1] of one source's documents, copied out of the shard."""
    chosen = np.flatnonzero(shard.source == shard.sources.index(source))
    lengths = shard.lengths()[chosen]
    starts = shard.offsets[:-1][chosen]
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    index = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    return np.asarray(shard.tokens[index]), offsets
