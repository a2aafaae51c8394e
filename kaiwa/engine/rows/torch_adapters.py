"""Adapters in the torch step: for each row of a batch the low-rank change and the soft prompt of its adapter.

The base's products stay unchanged; rows with the same adapter get its two thin products together. Tokens from the
vocabulary's end on are the soft prompt of their row's adapter. The C++ step's twin (csrc/adapters.h).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kaiwa.engine.rows.cpu_offload import OffloadedBlock
from kaiwa.model.adapter import Adapter
from kaiwa.model.decoder import Decoder
from kaiwa.model.int4 import linears_of


class Changes:
    """The low-rank changes of a forward pass. `adapters`: an adapter for each row, None for the plain model."""

    def __init__(self, adapters: Sequence[Adapter | None]) -> None:
        kinds = list(dict.fromkeys(a for a in adapters if a is not None))
        self.groups = [(kind, torch.tensor([i for i, a in enumerate(adapters) if a is kind])) for kind in kinds]

    def add(self, layer: int, part: str, x: Tensor, y: Tensor) -> Tensor:
        """Return the base's product y [rows,...,out] of x [rows,...,in] with each row's low-rank change added."""
        for adapter, rows in self.groups:
            if adapter.changes and (pair := adapter.changes[layer].get(part)) is not None:
                a, b = (t.to(x.device) for t in pair)
                rows = rows.to(x.device)
                change = F.linear(F.linear(x[rows].float(), a), b)
                y = y.index_add(0, rows, change.to(y.dtype))
        return y

    def embed(self, ids: Tensor, inner: nn.Embedding) -> Tensor:
        """Return the vectors [rows,...,D] of ids [rows,...]; ids beyond the vocabulary are soft prompts' positions."""
        first = inner.weight.shape[0]
        beyond = ids >= first
        x = F.embedding(ids.masked_fill(beyond, 0), inner.weight)
        for adapter, rows in self.groups:
            if adapter.soft is not None:
                rows = rows.to(ids.device)
                soft = F.embedding((ids[rows] - first).clamp(min=0), adapter.soft.to(x.device)).to(x.dtype)
                x[rows] = torch.where(beyond[rows][..., None], soft, x[rows])
        return x


def changes_of(adapters: Sequence[Adapter | None]) -> Changes | None:
    """Return the changes of a batch's adapters, None where no row has an adapter."""
    return Changes(adapters) if any(a is not None for a in adapters) else None


@contextlib.contextmanager
def apply_changes(decoder: Decoder, changes: Changes | None) -> Iterator[None]:
    """Let the decoder compute with the changes inside a `with` block."""
    if changes is None:
        yield
        return
    inner = decoder.embed

    def embed(input: Tensor) -> Tensor:
        return changes.embed(input, inner)

    inner.forward = embed  # type: ignore[method-assign]
    hooks = [
        getattr(block.block if isinstance(block, OffloadedBlock) else block, part).register_forward_hook(
            _hook(changes, number, part)
        )
        for number, block in enumerate(decoder.blocks)
        for part in linears_of(decoder.config)
    ]
    try:
        yield
    finally:
        del inner.forward
        for hook in hooks:
            hook.remove()


def _hook(changes: Changes, layer: int, part: str) -> Callable[[nn.Module, tuple[Tensor], Tensor], Tensor]:
    return lambda module, inputs, y: changes.add(layer, part, inputs[0], y)
