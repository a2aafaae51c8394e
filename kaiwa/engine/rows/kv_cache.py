"""The key/value cache: one buffer [layer, 2, row, K, length, E], rows kept compact, so a step reads a plain slice.

Rows 0..n-1 are alive. When a row ends, the last row moves into its place: no gather is ever needed, and a step reads
`[:n, :, :longest]` of each layer. The buffer grows by doubling; memory not written by any row is not touched.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kaiwa.model.config import DecoderConfig

STEP = 64  # lengths grow in multiples of this


class KVCache:
    """Keys and values of a batch: `buffer` [layer, 2, row, K, length, E]."""

    def __init__(self, config: DecoderConfig, dtype: torch.dtype, device: torch.device) -> None:
        self.config, self.dtype, self.device = config, dtype, device
        self.buffer = torch.empty(config.n_layer, 2, 0, config.kv_heads, 0, config.d_head, dtype=dtype, device=device)

    @property
    def rows(self) -> int:
        return self.buffer.shape[2]

    @property
    def length(self) -> int:
        return self.buffer.shape[4]

    def reserve(self, rows: int, length: int) -> None:
        """Make room for `rows` rows of `length` positions; cached entries stay."""
        if rows <= self.rows and length <= self.length:
            return
        old = self.buffer
        rows = self.rows if rows <= self.rows else max(rows, 2 * self.rows)
        if length > self.length:
            length = -(-max(length, min(2 * self.length, self.config.max_length)) // STEP) * STEP
        else:
            length = self.length
        L, _, _, K, _, E = old.shape
        # zeros, not empty: masked positions are multiplied by 0, and 0 x NaN would be NaN
        self.buffer = torch.zeros(L, 2, rows, K, length, E, dtype=self.dtype, device=self.device)
        if old.numel():
            self.buffer[:, :, : old.shape[2], :, : old.shape[4]] = old

    def copy_rows(self, sources: Tensor, targets: Tensor, length: int) -> None:
        """Copy the first `length` positions of rows `sources` [m] over `targets` [m]. No target may be a source."""
        sources, targets = sources.to(self.device), targets.to(self.device)
        self.buffer[:, :, targets, :, :length] = self.buffer[:, :, sources, :, :length]

    def move_row(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of a row over another."""
        if source != target:
            self.buffer[:, :, target, :, :length] = self.buffer[:, :, source, :, :length]

    def write_row(self, row: int, block: Tensor) -> None:
        """Write keys and values [layer, 2, K, T, E] over the first T positions of a row."""
        self.buffer[:, :, row, :, : block.shape[3]] = block
