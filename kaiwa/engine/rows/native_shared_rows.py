"""Rows of the C++ step: a row is a list of blocks. Rows with a common prefix share its cache blocks.

Nothing is copied: computed blocks of a prompt become nodes of the prefix tree at once, and the next prompt with the
same prefix starts with them. Attention reads a shared block once for all its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from kaiwa.engine.native.huge_pages import allocate_huge
from kaiwa.engine.native.step import NativeModel
from kaiwa.engine.rows.prefix_tree import BLOCK, Node, PrefixTree
from kaiwa.model.adapter import Adapter


@dataclass(slots=True)
class SharedRow:
    """The list of blocks of a request."""

    slot: int  # its line in the table of blocks
    nodes: list[Node]  # its first blocks, which are in the tree
    own: list[int] = field(default_factory=list)  # its further blocks
    length: int = 0
    adapter: Adapter | None = None
    space: int = 0  # of its adapter, in the tree


class NativeSharedRows:
    """Rows by request id, over a common cache of blocks."""

    rewinds = True

    def __init__(
        self,
        model: NativeModel,
        dtype: torch.dtype,
        *,
        max_rows: int,
        max_tokens: int,
        max_length: int,
        kept_tokens: int,
    ) -> None:
        c = model.config
        self.model, self.max_idle_blocks = model, kept_tokens // BLOCK
        blocks = -(-max_tokens // BLOCK) + max_rows + self.max_idle_blocks
        # Not written here: the system allocates a block's memory when it is first written to.
        items = c.n_layer * 2 * c.kv_heads * BLOCK * c.d_head
        kind = np.dtype(np.float32 if dtype == torch.float32 else np.uint16)
        self.cache = allocate_huge(blocks * items * kind.itemsize).view(kind).reshape(blocks, items)
        self.tables = np.zeros((max_rows, -(-(max_length + 1) // BLOCK)), np.int32)
        self.tree = PrefixTree(blocks)
        self.slots = list(range(max_rows))
        self.rows: dict[str, SharedRow] = {}

    def count_cached(self, ids: Sequence[int], space: int = 0) -> int:
        """Return the number of cached tokens at a prompt's beginning; the last token is always left to compute."""
        return len(self.tree.find(ids[:-1], space)) * BLOCK

    def open(self, id: str, ids: Sequence[int], adapter: Adapter | None = None, space: int = 0) -> int:
        """Open a row for a prompt (without ids: a row without sharing). Return the number of cached tokens."""
        nodes = self.tree.find(ids[:-1], space)
        self.tree.hold(nodes)
        slot = self.slots.pop()
        row = self.rows[id] = SharedRow(slot, nodes, length=len(nodes) * BLOCK, adapter=adapter, space=space)
        self.tables[row.slot, : len(nodes)] = [node.block for node in nodes]
        return row.length

    def run(self, work: Sequence[tuple[str, Sequence[int]]]) -> list[Tensor]:
        """Compute the next tokens of rows. Return the states [tokens, D] of each, in order.

        Rows with the same adapter are put side by side.
        """
        order = sorted(range(len(work)), key=lambda i: self.rows[work[i][0]].space)
        ids: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        adapters: list[Adapter | None] = []
        for id, tokens in (work[i] for i in order):
            row, n = self.rows[id], len(tokens)
            while (len(row.nodes) + len(row.own)) * BLOCK < row.length + n:
                self.tables[row.slot, len(row.nodes) + len(row.own)] = block = self.tree.take()
                row.own.append(block)
            ids += tokens
            positions += range(row.length, row.length + n)
            slots += [row.slot] * n
            adapters += [row.adapter] * n
            row.length += n
        states = self.model.forward((ids, positions, slots), self.tables, self.cache, adapters)
        parts = dict(zip(order, states.split([len(work[i][1]) for i in order]), strict=True))
        return [parts[i] for i in range(len(work))]

    def rewind(self, id: str, length: int) -> None:
        """Drop a row's tokens from `length` on."""
        self.rows[id].length = length

    def share(self, id: str, ids: Sequence[int]) -> None:
        """Put the whole blocks of a row, which holds `ids`, into the prefix tree."""
        row = self.rows[id]
        while (len(row.nodes) + 1) * BLOCK <= min(row.length, len(ids)):
            at = len(row.nodes) * BLOCK
            node = self.tree.add(row.nodes[-1] if row.nodes else None, ids[at : at + BLOCK], row.own.pop(0), row.space)
            self.tables[row.slot, len(row.nodes)] = node.block  # another row's block, where two rows computed the same
            row.nodes.append(node)

    def close(self, ended: dict[str, Sequence[int]]) -> None:
        """Close ended rows; their tokens by id. Their whole blocks stay cached for later prompts."""
        for id, ids in ended.items():
            self.share(id, ids)
            row = self.rows.pop(id)
            for block in row.own:
                self.tree.give(block)
            self.tree.release(row.nodes)
            self.slots.append(row.slot)
        self.tree.shrink(self.max_idle_blocks)

    def logits(self, states: Tensor) -> Tensor:
        """Return the logits [n, V] fp32 of states [n, D]."""
        return self.model.logits(states)
