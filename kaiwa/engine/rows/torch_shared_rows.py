"""Rows of the torch step: a prompt with a cached prefix starts with a copy of its keys and values.

Decoding rows stand first in the cache, rows with an incomplete prompt last.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kaiwa.engine.rows.prefix_tree import BLOCK, PrefixTree
from kaiwa.engine.rows.torch_rows import TorchRows
from kaiwa.model.adapter import Adapter
from kaiwa.model.decoder import Decoder

SLAB_BYTES = 4 << 20  # of blocks in one piece of memory: a piece for each block would fragment it in small models


class TorchSharedRows:
    """Rows by request id, in the order of the cache."""

    rewinds = False  # a row would have to leave the batch of rows that get one token

    def __init__(self, decoder: Decoder, dtype: torch.dtype, kept_tokens: int, *, side_by_side: bool = False) -> None:
        """Prepare the rows. side_by_side: prompts are computed several at a time where possible, with other rounding
        in bf16."""
        self.side_by_side = side_by_side
        self.rows = TorchRows(decoder, dtype)
        self.order: list[str] = []  # the request of each row
        self.adapters: dict[str, tuple[Adapter | None, int]] = {}  # and its space in the tree
        self.tree = PrefixTree(max(1, kept_tokens // BLOCK))
        self.per_slab = max(1, SLAB_BYTES // (decoder.config.cache_numbers * BLOCK * dtype.itemsize))
        self.slabs: list[Tensor] = []  # [per_slab, layer, 2, K, BLOCK, E], made when a block of theirs is first used

    def count_cached(self, ids: Sequence[int], space: int = 0) -> int:
        """Return the number of cached tokens at a prompt's beginning; the last token is always left to compute."""
        return len(self.tree.find(ids[:-1], space)) * BLOCK

    def open(self, id: str, ids: Sequence[int], adapter: Adapter | None = None, space: int = 0) -> int:
        """Open a row for a prompt (without ids: a row without sharing). Return the number of cached tokens."""
        nodes = self.tree.find(ids[:-1], space)
        self.tree.hold(nodes)
        self.tree.release(nodes)  # counts as the most recent use
        self.rows.new_row(torch.cat([self._block(node.block) for node in nodes], dim=3) if nodes else None)
        self.order.append(id)
        self.adapters[id] = adapter, space
        return len(nodes) * BLOCK

    def run(self, work: Sequence[tuple[str, Sequence[int]]]) -> list[Tensor]:
        """Compute the next tokens of rows. Return the states [tokens, D] of each, in order."""
        single = {id: tokens[0] for id, tokens in work if len(tokens) == 1}
        n = 0
        while n < len(self.order) and self.order[n] in single and int(self.rows.lengths[n]) > 0:
            n += 1  # rows that get one token are computed as a batch
        states_of: dict[str, Tensor] = {}
        if n:
            ids = torch.tensor([single[id] for id in self.order[:n]])
            adapters = [self.adapters[id][0] for id in self.order[:n]]
            states = self.rows.decode(ids, int(self.rows.lengths[:n].max()), adapters)
            states_of = dict(zip(self.order, states[:, None], strict=False))
        prompts = [(id, tokens) for id, tokens in work if id not in states_of]
        prompts.sort(key=lambda part: self.order.index(part[0]))
        for group in self._groups(prompts):
            first, adapter = self.order.index(group[0][0]), self.adapters[group[0][0]][0]
            parts = self.rows.extend(first, [tokens for _, tokens in group], adapter)
            states_of |= {id: states for (id, _), states in zip(group, parts, strict=True)}
        return [states_of[id] for id, _ in work]

    def _groups(self, prompts: list[tuple[str, Sequence[int]]]) -> list[list[tuple[str, Sequence[int]]]]:
        """Return prompts' parts, in the order of their rows, in groups computed by one product: neighbouring rows of
        equal length with the same adapter. Padding them to the longest must not double the work."""
        groups: list[list[tuple[str, Sequence[int]]]] = []
        for id, tokens in prompts:
            row = self.order.index(id)
            before = groups[-1] if groups and self.side_by_side else []
            joins = bool(before) and self.order[row - 1] == before[-1][0]
            if joins and self.adapters[id][0] is self.adapters[before[-1][0]][0]:
                longest = max(len(tokens), *(len(part) for _, part in before))
                padded = (len(before) + 1) * longest
                whole = len(tokens) + sum(len(part) for _, part in before)
                if int(self.rows.lengths[row]) == int(self.rows.lengths[row - 1]) and padded <= 2 * whole:
                    before.append((id, tokens))
                    continue
            groups.append([(id, tokens)])
        return groups

    def rewind(self, id: str, length: int) -> None:
        """Drop a row's tokens from `length` on."""
        self.rows.lengths[self.order.index(id)] = length

    def share(self, id: str, ids: Sequence[int]) -> None:
        """Copy the whole blocks of a row, which holds `ids`, into the prefix tree."""
        space = self.adapters[id][1]
        nodes = self.tree.find(ids, space)
        self.tree.hold(nodes)
        row = self.order.index(id)
        for at in range(len(nodes) * BLOCK, len(ids) // BLOCK * BLOCK, BLOCK):
            if len(nodes) >= self.tree.blocks:
                break
            block = self.tree.take()
            self._block(block).copy_(self.rows.cache.buffer[:, :, row, :, at : at + BLOCK])
            nodes.append(self.tree.add(nodes[-1] if nodes else None, ids[at : at + BLOCK], block, space))
        self.tree.release(nodes)

    def _block(self, number: int) -> Tensor:
        """Return the memory of a block of the tree, [layer, 2, K, BLOCK, E]."""
        while number >= self.per_slab * len(self.slabs):
            n = min(self.per_slab, self.tree.blocks - self.per_slab * len(self.slabs))
            layers, two, _, heads, _, width = self.rows.cache.buffer.shape
            self.slabs.append(self.rows.cache.buffer.new_empty(n, layers, two, heads, BLOCK, width))
        return self.slabs[number // self.per_slab][number % self.per_slab]

    def close(self, ended: dict[str, Sequence[int]]) -> None:
        """Close ended rows; their tokens by id. Copies of their whole blocks stay for later prompts."""
        for id, ids in ended.items():
            self.share(id, ids)
            del self.adapters[id]
        alive = [i for i, id in enumerate(self.order) if id not in ended]
        # The last rows fill the holes, but the order of those that stay where they are matters: a row whose prompt is
        # not whole must remain the last one.
        keep_last = alive.pop() if alive and alive[-1] == len(self.order) - 1 else None
        n = len(alive)
        movers = [i for i in alive if i >= n]
        sources = [i if i in alive else movers.pop() for i in range(n)]
        if keep_last is not None:
            sources.append(keep_last)
        self.rows.select(sources)
        self.order = [self.order[i] for i in sources]

    def logits(self, states: Tensor) -> Tensor:
        """Return the logits [n, V] fp32 of states [n, D]."""
        return self.rows.logits(states)
