"""Rows of bulk generation by the C++ step: the counterpart of TorchRows, for decoders in training too.

The decoder's weights are packed anew for every bulk call (milliseconds, where a call computes for tenths of a second),
so a rollout always uses the current policy. Each row owns the blocks of its positions in the cache; compacting
rows moves lines of the table of blocks, not keys and values.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from torch import Tensor

from kaiwa.core.errors import UserError
from kaiwa.engine.native import library, step
from kaiwa.engine.rows.prefix_tree import BLOCK
from kaiwa.engine.rows.protocols import BulkRows
from kaiwa.engine.rows.torch_rows import TorchRows
from kaiwa.engine.sampling import SamplingRules, sample, uniforms
from kaiwa.model.decoder import Decoder

CALL_TOKENS = 1024  # of prompts in one call: the step holds tokens x context of partial sums
_reported: set[str] = set()  # reasons against the C++ step that were printed already


def can_use_native(decoder: Decoder) -> bool:
    """Return whether the C++ step should do a decoder's bulk generation.

    True for dense weights on the CPU (many rows of 4-bit weights are quicker as dense products), unless the model is
    too small to be worth a compile.
    """
    if decoder.config.n_parameters < step.SMALL or step.decoder_refusal(decoder):
        return False
    return all(isinstance(linear, torch.nn.Linear) for linear in step.linears(decoder))


def make_rows(decoder: Decoder, cache_dtype: torch.dtype) -> BulkRows:
    """Return rows for bulk generation, compiling the C++ step if not built yet.

    If compiling fails, torch computes, and a single line on stderr gives the reason.
    """
    if can_use_native(decoder):
        try:
            library.library()
        except UserError as error:
            if str(error) not in _reported:
                _reported.add(str(error))
                print(f"{error}: PyTorch computes the answers", file=sys.stderr)
        else:
            return NativeRows(decoder, wide=cache_dtype == torch.float32)
    return TorchRows(decoder, cache_dtype)


class NativeRows:
    """`n` alive rows. lengths [n]: positions each row holds."""

    def __init__(self, decoder: Decoder, wide: bool) -> None:
        """Pack a decoder's weights. wide: the cache is fp32, else bf16."""
        self.decoder = decoder
        self.lengths = torch.zeros(0, dtype=torch.int64)
        self._model = step.NativeModel(decoder, library.library())
        c = decoder.config
        self._items = c.cache_numbers * BLOCK
        self._type: type[np.generic] = np.float32 if wide else np.uint16
        self._cache = np.zeros((0, self._items), self._type)
        self._tables = np.zeros((0, 0), np.int32)

    @property
    def n(self) -> int:
        return len(self.lengths)

    def clear(self) -> None:
        """Drop all rows and pack the decoder's current weights; the cache's memory stays."""
        self.lengths = self.lengths[:0]
        self._model.renew(self.decoder)

    def reserve(self, rows: int, length: int) -> None:
        """Make room for `rows` rows of `length` positions. Only while there are none."""
        assert self.n == 0
        width = length // BLOCK + 1
        if rows * width > len(self._cache):
            self._cache = np.zeros((rows * width, self._items), self._type)
        self._tables = np.arange(rows * width, dtype=np.int32).reshape(rows, width)

    def prefill(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Append rows for ids [m,T], right-padded, of lengths [m]. Return the last tokens' hidden states [m,D]."""
        is_token = torch.arange(ids.shape[1]) < lengths[:, None]
        rows, positions = is_token.nonzero(as_tuple=True)
        work = zip(*(t.split(CALL_TOKENS) for t in (ids[is_token], positions, rows + self.n)), strict=True)
        states = torch.cat([self._forward(*part) for part in work])
        self.lengths = torch.cat((self.lengths, lengths))
        return states[lengths.cumsum(0) - 1]

    def decode(self, ids: Tensor, longest: int) -> Tensor:
        """Feed a token to every row, ids [n]. Return hidden states [n,D]."""
        states = self._forward(ids, self.lengths, torch.arange(self.n))
        self.lengths += 1
        return states

    def fork(self, start: int, sources: Tensor) -> None:
        """Replace rows start.. by copies: row start + i of old row sources[i] (a shared prompt is prefilled once)."""
        blocks = -(-int(self.lengths[sources].max()) // BLOCK)
        old = self._cache[self._tables[sources.numpy(), :blocks]]
        self._cache[self._tables[start : start + len(sources), :blocks]] = old
        self.lengths = torch.cat((self.lengths[:start], self.lengths[sources]))

    def drop(self, keep: Tensor) -> Tensor:
        """Drop the rows where keep [n] is False. Return the old index [n'] int64 of each remaining row, in order."""
        source, dropped = keep.nonzero()[:, 0], (~keep).nonzero()[:, 0]
        self._tables[: self.n] = self._tables[torch.cat((source, dropped)).numpy()]
        self.lengths = self.lengths[source]
        return source

    def sample(self, hidden: Tensor, rules: SamplingRules, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Sample the next token after hidden states [m,D]; positions [m]: tokens each row has answered.

        Return ids [m] and log-probabilities [m].
        """
        if rules.filtered:
            return sample(self._model.logits(hidden), rules, positions)
        return self._model.sample(hidden, rules.temperature, uniforms(rules.seeds, positions))

    def _forward(self, ids: Tensor, positions: Tensor, rows: Tensor) -> Tensor:
        return self._model.forward((ids.numpy(), positions.numpy(), rows.numpy()), self._tables, self._cache)
