"""Rows of bulk generation by the C++ step: what `runner.Rows` does with torch, for decoders in training too.

The decoder's weights are packed anew for every bulk call (milliseconds, where a call computes for tenths of a second),
so that a rollout is always of the policy as it is. Each row owns the blocks of its positions in the cache; compacting
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
from kaiwa.engine.rows.torch_rows import Rows
from kaiwa.engine.sampling import Rules, sample, uniforms
from kaiwa.model.decoder import Decoder

CALL_TOKENS = 1024  # of prompts in a call: the step keeps tokens x context of partial sums
_said: set[str] = set()  # why there is no C++ step


def possible(decoder: Decoder) -> bool:
    """Whether bulk generation of this decoder can and should be done by the C++ step: dense weights on the CPU (of
    4-bit ones many rows are quicker as dense products), not so few of them that nothing is worth compiling for."""
    if decoder.config.n_parameters < step.SMALL or step.decoder_refusal(decoder):
        return False
    return all(isinstance(linear, torch.nn.Linear) for linear in step.linears(decoder))


def rows_for(decoder: Decoder, cache_dtype: torch.dtype) -> Rows | StepRows:
    """Rows for bulk generation; the C++ step's library is compiled here if it is not there yet. Where it cannot be had:
    torch's, and a line on stderr, once."""
    if possible(decoder):
        try:
            library.library()
        except UserError as error:
            if str(error) not in _said:
                _said.add(str(error))
                print(f"{error}: PyTorch computes the answers", file=sys.stderr)
        else:
            return StepRows(decoder, wide=cache_dtype == torch.float32)
    return Rows(decoder, cache_dtype)


class StepRows:
    """`n` alive rows. lengths [n]: positions each row holds."""

    def __init__(self, decoder: Decoder, wide: bool) -> None:
        """wide: the cache is fp32, else bf16."""
        self.decoder = decoder
        self.lengths = torch.zeros(0, dtype=torch.int64)
        self._model = step.FusedModel(decoder, library.library())
        c = decoder.config
        self._items = c.cache_numbers * BLOCK
        self._type: type[np.generic] = np.float32 if wide else np.uint16
        self._cache = np.zeros((0, self._items), self._type)
        self._tables = np.zeros((0, 0), np.int32)

    @property
    def n(self) -> int:
        return len(self.lengths)

    def clear(self) -> None:
        """No rows, and the decoder's weights as they are now; the cache's memory stays."""
        self.lengths = self.lengths[:0]
        self._model.renew(self.decoder)

    def reserve(self, rows: int, length: int) -> None:
        """Room for `rows` rows of `length` positions. Only while there are none."""
        assert self.n == 0
        width = length // BLOCK + 1
        if rows * width > len(self._cache):
            self._cache = np.zeros((rows * width, self._items), self._type)
        self._tables = np.arange(rows * width, dtype=np.int32).reshape(rows, width)

    def prefill(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Appends rows. ids [m,T] right-padded, lengths [m] -> hidden states of each row's last token [m,D]."""
        there = torch.arange(ids.shape[1]) < lengths[:, None]
        rows, positions = there.nonzero(as_tuple=True)
        work = zip(*(t.split(CALL_TOKENS) for t in (ids[there], positions, rows + self.n)), strict=True)
        states = torch.cat([self._forward(*some) for some in work])
        self.lengths = torch.cat((self.lengths, lengths))
        return states[lengths.cumsum(0) - 1]

    def decode(self, ids: Tensor, longest: int) -> Tensor:
        """One token for every row. ids [n] -> hidden states [n,D]"""
        states = self._forward(ids, self.lengths, torch.arange(self.n))
        self.lengths += 1
        return states

    def fork(self, start: int, sources: Tensor) -> None:
        """Rows start.. become copies: row start + i of old row sources[i] (a shared prompt is prefilled once)."""
        blocks = -(-int(self.lengths[sources].max()) // BLOCK)
        old = self._cache[self._tables[sources.numpy(), :blocks]]
        self._cache[self._tables[start : start + len(sources), :blocks]] = old
        self.lengths = torch.cat((self.lengths[:start], self.lengths[sources]))

    def drop(self, keep: Tensor) -> Tensor:
        """keep [n] bool -> where the new rows came from [n'] int64: survivors, in order."""
        source, gone = keep.nonzero()[:, 0], (~keep).nonzero()[:, 0]
        self._tables[: self.n] = self._tables[torch.cat((source, gone)).numpy()]
        self.lengths = self.lengths[source]
        return source

    def sample(self, hidden: Tensor, rules: Rules, positions: Tensor) -> tuple[Tensor, Tensor]:
        """The next token of rows with these states [m,D]; positions [m]: how many each has answered -> ids, logprobs"""
        if rules.filtered:
            return sample(self._model.logits(hidden), rules, positions)
        return self._model.sample(hidden, rules.temperature, uniforms(rules.seeds, positions))

    def _forward(self, ids: Tensor, positions: Tensor, rows: Tensor) -> Tensor:
        return self._model.forward((ids.numpy(), positions.numpy(), rows.numpy()), self._tables, self._cache)
