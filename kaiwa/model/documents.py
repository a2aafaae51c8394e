"""Texts of different lengths side by side in one row: no padding, and no computation of unused positions.

    ids        a a a a b b b c c c c      [1,N]
    positions  0 1 2 3 0 1 2 0 1 2 3
    at           ^ ^     ^     ^ ^        [n], ascending: positions whose hidden states are needed

In the last block other tokens need keys and values only: no query, no output, no MLP.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kaiwa.model import kernels
from kaiwa.model.attention import Limits, attention, within_window


class Documents:
    """Attention within documents (an `Attend`). lengths: their tokens; wanted: how many of the last are asked for."""

    def __init__(self, lengths: Sequence[int], n_states: Sequence[int], device: str) -> None:
        assert all(0 < w <= n for n, w in zip(lengths, n_states, strict=True))
        self.device = device
        keys = _bounds(lengths)
        queries = _bounds(n_states)
        last = [torch.arange(end - w, end) for (_, end), w in zip(keys.tolist(), n_states, strict=True)]
        self.positions = torch.cat([torch.arange(n) for n in lengths])[None].to(device)
        self.at = torch.cat(last).to(device)
        self._few = (torch.cat([queries, keys], dim=1), torch.cat(last))
        self._all = (torch.cat([keys, keys], dim=1), torch.arange(sum(lengths)))
        self._longest = max(lengths)
        self._indices: dict[tuple[bool, int], Indices] = {}  # by whether every position asks, and window

    def states(self, model: nn.Module, ids: Tensor) -> Tensor:
        """Return the output of a decoder [n,D] or scalar model [n] for ids [N] at the positions `at`."""
        return model(ids[None].to(self.device), self.positions, self, self.at)[0]  # type: ignore[no-any-return]

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, limits: Limits = Limits()) -> Tensor:
        whole = q.shape[1] == k.shape[1]
        documents, last = self._all if whole else self._few
        window = limits.window if limits.window < self._longest else 0
        out = None if window or limits.cap else kernels.attention(q, k, v, documents, last)
        if out is None:
            if (whole, window) not in self._indices:
                self._indices[whole, window] = padded_indices(documents, last, self.device, window)
            out = attend_padded(q, k, v, self._indices[whole, window], limits.cap)
        return out


# queries [M,n] and whether there is one, keys [M,m], which of them a query sees [M,1,n,m]
Indices = tuple[Tensor, Tensor, Tensor, Tensor]


def padded_indices(documents: Tensor, last: Tensor, device: str, window: int = 0) -> Indices:
    """Return indices [M, longest] that stack M documents with padding; arguments as `kernels.attention`'s. window: as
    in `Limits`."""
    queries, is_query = _pad_ranges(documents[:, 0], documents[:, 1])
    keys, real = _pad_ranges(documents[:, 2], documents[:, 3])
    visible = (real[:, None, :] & (keys[:, None, :] <= last[queries][:, :, None]))[:, None]
    if window:
        near = within_window(last[queries], keys, window) | ~is_query[:, :, None]  # padding sees something: no NaN
        visible = visible & near[:, None]
    return queries.to(device), is_query.to(device), keys.to(device), visible.to(device)


def attend_padded(q: Tensor, k: Tensor, v: Tensor, indices: Indices, cap: float = 0.0) -> Tensor:
    """Return attention of q [1,n,H,E] over k, v [1,N,K,E], as `kernels.attention`, by padding documents [M,n]."""
    queries, is_query, keys, visible = indices
    q, k, v = (t.transpose(1, 2) for t in (q[0, queries], k[0, keys], v[0, keys]))
    out = attention(q, k, v, visible, cap)
    return out.transpose(1, 2)[is_query][None]


def _pad_ranges(first: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """Return the numbers from `first` to `end`, padded to the longest [M,n], and the mask of real numbers [M,n]."""
    numbers = first[:, None] + torch.arange(int((end - first).max()))
    return numbers.clamp(max=int(end.max()) - 1), numbers < end[:, None]


def _bounds(lengths: Sequence[int]) -> Tensor:
    ends = torch.tensor(lengths).cumsum(0)
    return torch.stack([ends - torch.tensor(lengths), ends], dim=1)
