"""Protocols of the rows used by the two loops of the engine. Each protocol is implemented in torch and in C++."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from kaiwa.engine.rows.prefix_tree import PrefixTree
from kaiwa.engine.sampling import SamplingRules
from kaiwa.model.adapter import Adapter
from kaiwa.model.decoder import Decoder


class BulkRows(Protocol):
    """Rows without names, for bulk generation: TorchRows and NativeRows. lengths [n]: positions each row holds."""

    decoder: Decoder
    lengths: Tensor

    @property
    def n(self) -> int: ...

    def clear(self) -> None:
        """Drop all rows."""
        ...

    def reserve(self, rows: int, length: int) -> None:
        """Make room for `rows` rows of `length` positions."""
        ...

    def prefill(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Append rows for ids [m,T], right-padded, of lengths [m]. Return the last tokens' hidden states [m,D]."""
        ...

    def decode(self, ids: Tensor, longest: int) -> Tensor:
        """Feed a token to every row, ids [n]; longest: max(lengths). Return hidden states [n,D]."""
        ...

    def fork(self, start: int, sources: Tensor) -> None:
        """Replace rows start.. by copies: row start + i of old row sources[i]."""
        ...

    def drop(self, keep: Tensor) -> Tensor:
        """Drop the rows where keep [n] is False. Return the old index [n'] int64 of each remaining row."""
        ...

    def sample(self, hidden: Tensor, rules: SamplingRules, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Sample after hidden states [m,D] at positions [m]. Return ids [m] and log-probabilities [m]."""
        ...


class SharedRows(Protocol):
    """Rows by request id with shared prefixes, for serving: TorchSharedRows and NativeSharedRows.

    rewinds: whether a row can drop its newest tokens, for example rejected guesses.
    """

    rewinds: bool
    tree: PrefixTree

    def count_cached(self, ids: Sequence[int], space: int = 0) -> int:
        """Return the number of cached tokens at a prompt's beginning; the last token is always left to compute."""
        ...

    def open(self, id: str, ids: Sequence[int], adapter: Adapter | None = None, space: int = 0) -> int:
        """Open a row for a prompt (without ids: a row without sharing). Return the number of cached tokens."""
        ...

    def run(self, work: Sequence[tuple[str, Sequence[int]]]) -> list[Tensor]:
        """Compute the next tokens of rows. Return the states [tokens, D] of each, in order."""
        ...

    def rewind(self, id: str, length: int) -> None:
        """Drop a row's tokens from `length` on."""
        ...

    def share(self, id: str, ids: Sequence[int]) -> None:
        """Put the whole blocks of a row, which holds `ids`, into the prefix tree."""
        ...

    def close(self, ended: dict[str, Sequence[int]]) -> None:
        """Close ended rows; their tokens by id."""
        ...

    def logits(self, states: Tensor) -> Tensor:
        """Return the logits [n, V] fp32 of states [n, D]."""
        ...
