"""Rows: token sequences packed one after the other, with little padding and no attention between sequences.

A row holds for each position the token, its segment (the number of its sequence in the row), its position within the
sequence, and a weight (0: no loss on predicting this token). Packing is plain Python and numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kaiwa.core.errors import UserError
from kaiwa.core.rng import numpy_rng


@dataclass(frozen=True, slots=True)
class Rows:
    """A batch of packed rows. All arrays are [B, T+1]; column t predicts column t+1."""

    ids: np.ndarray
    segments: np.ndarray
    positions: np.ndarray
    weights: np.ndarray

    def tensors(self, device: str = "cpu") -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return inputs, positions, segments [B,T]; targets [B,T]; target weights [B,T] (0 across a border)."""
        ids = torch.from_numpy(self.ids.astype(np.int64)).to(device)
        segments = torch.from_numpy(self.segments.astype(np.int64)).to(device)
        positions = torch.from_numpy(self.positions.astype(np.int64)).to(device)
        weights = torch.from_numpy(self.weights.astype(np.float32)).to(device)
        same = (segments[:, 1:] == segments[:, :-1]).float()
        return ids[:, :-1], positions[:, :-1], segments[:, :-1], ids[:, 1:], weights[:, 1:] * same


def within_context(width: int, context: int, name: str, say: Callable[[str], None]) -> int:
    """Return the width of rows that a model of `context` tokens can read; say where it is less than asked for."""
    if width > context:
        say(f"{name} is {width}, the model reads {context} tokens at once: rows of {context} are used")
    return min(width, context)


def pack(sequences: Sequence[Sequence[int]], width: int) -> list[list[int]]:
    """Pack sequences first-fit, in order, into rows of at most `width` tokens; return lists of sequence numbers.

    ValueError for a sequence longer than `width`: the caller cuts or drops long sequences, and reports them.
    """
    bins: list[list[int]] = []
    room: list[int] = []
    open_bins: list[int] = []  # bins with room left, oldest first
    for number, sequence in enumerate(sequences):
        n = len(sequence)
        if n > width:
            raise ValueError(f"sequence {number} has {n} tokens, a row has {width}")
        for b in open_bins:
            if room[b] >= n:
                bins[b].append(number)
                room[b] -= n
                break
        else:
            bins.append([number])
            room.append(width - n)
            open_bins.append(len(bins) - 1)
        open_bins = [b for b in open_bins[-64:] if room[b] >= 4]
    return bins


def packed_rows(
    sequences: Sequence[Sequence[int]],
    masks: Sequence[Sequence[float]],
    bins: Sequence[Sequence[int]],
    width: int,
    pad: int,
) -> Rows:
    """Return rows of `width` tokens; `bins` lists the sequence numbers of each row, `masks` the loss masks."""
    shape = (len(bins), width)
    ids = np.full(shape, pad, np.int32)
    segments, positions = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    weights = np.zeros(shape, np.float32)
    for row, members in enumerate(bins):
        at = 0
        for segment, number in enumerate(members, 1):
            n = len(sequences[number])
            ids[row, at : at + n] = sequences[number]
            segments[row, at : at + n] = segment
            positions[row, at : at + n] = np.arange(n)
            weights[row, at : at + n] = masks[number]
            at += n
    return Rows(ids, segments, positions, weights)


class TokenStream:
    """Documents of one source as rows of `width` tokens, shuffled anew each epoch; the state is (epoch, row).

    tokens [N] and offsets [n_documents + 1] are the shard of the tokenizer stage. in_order: the first epoch keeps the
    documents' order, for a source that is a curriculum. A document that does not fit a row continues in the next row
    with positions from 0.
    """

    def __init__(
        self, tokens: np.ndarray, offsets: np.ndarray, width: int, seed: int, name: str, *, in_order: bool = False
    ) -> None:
        if len(tokens) < width:
            raise UserError(f"source {name!r} has {len(tokens)} tokens, one row needs {width}; give more text")
        self.tokens, self.offsets, self.width, self.seed, self.name = tokens, offsets, width, seed, name
        self.in_order = in_order
        self.epoch, self.row = 0, 0
        self._shuffle()

    def _shuffle(self) -> None:
        order = np.arange(len(self.offsets) - 1)
        if self.epoch or not self.in_order:
            order = numpy_rng(self.seed, "stream", self.name, self.epoch).permutation(order)
        lengths = np.diff(self.offsets)[order]
        starts = self.offsets[:-1][order]
        index = np.repeat(starts - np.concatenate(([0], np.cumsum(lengths)[:-1])), lengths) + np.arange(lengths.sum())
        self._stream = np.asarray(self.tokens[index], np.int32)
        self._segment = np.repeat(np.arange(len(order), dtype=np.int32), lengths)
        self._position = (np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)).astype(np.int32)
        self.n_rows = len(self._stream) // self.width

    def next(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return ids, segments, positions of the next row, each [width]."""
        if self.row >= self.n_rows:
            self.epoch, self.row = self.epoch + 1, 0
            self._shuffle()
        part = slice(self.row * self.width, (self.row + 1) * self.width)
        self.row += 1
        segments, positions = self._segment[part], self._position[part]
        first = segments == segments[0]
        positions = np.where(first, positions - positions[0], positions)  # a document cut by the row's edge starts at 0
        return self._stream[part], segments - segments[0], positions

    def state(self) -> list[int]:
        return [self.epoch, self.row]

    def restore(self, state: Sequence[int]) -> None:
        self.epoch, self.row = int(state[0]), int(state[1])
        self._shuffle()


class Mixture:
    """Rows drawn from several streams in the proportion of their weights, evenly spread (largest remainder first)."""

    def __init__(self, streams: Sequence[TokenStream], weights: Sequence[float]) -> None:
        if len(streams) != len(weights) or not streams or min(weights) < 0 or sum(weights) <= 0:
            raise UserError(f"{len(streams)} sources but weights {list(weights)}; give one weight of at least 0 each")
        self.streams = list(streams)
        self.shares = [w / sum(weights) for w in weights]
        self.drawn = [0] * len(streams)

    def next(self, n: int) -> Rows:
        """Return n rows with weight 1 on all tokens."""
        rows = []
        for _ in range(n):
            total = sum(self.drawn) + 1
            due = [share * total - got for share, got in zip(self.shares, self.drawn, strict=True)]
            which = max(range(len(due)), key=lambda i: due[i])
            self.drawn[which] += 1
            rows.append(self.streams[which].next())
        ids, segments, positions = (np.stack(part) for part in zip(*rows, strict=True))
        return Rows(ids, segments, positions, np.ones(ids.shape, np.float32))

    def state(self) -> list[list[int]]:
        return [self.drawn, *[s.state() for s in self.streams]]

    def restore(self, state: Sequence[Sequence[int]]) -> None:
        """Restore a state returned by `state`."""
        self.drawn = [int(n) for n in state[0]]
        for stream, saved in zip(self.streams, state[1:], strict=True):
            stream.restore(saved)
