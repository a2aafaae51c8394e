"""One packed row per prompt: the prompt once, then its K completions, each attending only to the prompt and itself.

    tokens      p p p p | a a a | b b b b | c c
    positions   0 1 2 3 | 4 5 6 | 4 5 6 7 | 4 5        (each completion continues the prompt's positions)
    attention   block mask: a completion attends to the prompt (causally) and to itself

The scores at the completions' last tokens equal those of K separate rows, at 1/15 of the work of all pairs for K = 9.
The last block computes query, output and MLP only at the positions whose states are used, elsewhere only keys and
values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kaiwa.model.attention import Limits, attention, within_window


@dataclass(frozen=True, slots=True)
class PromptRow:
    """The ids of a prompt, and of each of its completions (with the end of turn if the completion ended)."""

    prompt: Sequence[int]
    completions: Sequence[Sequence[int]]

    def __len__(self) -> int:
        return len(self.prompt) + sum(map(len, self.completions))


@dataclass(frozen=True, slots=True)
class PackedPrompts:
    """ids, positions [B,T]; mask [B,1,T,T]; ends [M,2]: row and column of each completion's last token, in order."""

    ids: Tensor
    positions: Tensor
    mask: Tensor
    ends: Tensor


def pack_prompts(rows: Sequence[PromptRow], pad: int, device: str = "cpu", multiple: int = 16) -> PackedPrompts:
    """Return the rows as one batch, padded to the longest row (rounded up to `multiple`, so that few shapes occur)."""
    width = -(-max(map(len, rows)) // multiple) * multiple
    ids = torch.full((len(rows), width), pad, dtype=torch.long)
    positions = torch.zeros(len(rows), width, dtype=torch.long)
    segments = torch.full((len(rows), width), -1, dtype=torch.long)  # 0: the prompt, k: completion k, -1: padding
    ends = []
    for row, item in enumerate(rows):
        at = len(item.prompt)
        ids[row, :at] = torch.tensor(item.prompt)
        positions[row, :at] = torch.arange(at)
        segments[row, :at] = 0
        for number, completion in enumerate(item.completions, 1):
            n = len(completion)
            ids[row, at : at + n] = torch.tensor(completion)
            positions[row, at : at + n] = torch.arange(len(item.prompt), len(item.prompt) + n)
            segments[row, at : at + n] = number
            at += n
            ends.append((row, at - 1))
    causal = torch.ones(width, width, dtype=torch.bool).tril()
    query, key = segments[:, :, None], segments[:, None, :]
    mask = ((query == key) | (key == 0)) & causal
    return PackedPrompts(ids.to(device), positions.to(device), mask[:, None].to(device), torch.tensor(ends).to(device))


def packed_states(model: nn.Module, packed: PackedPrompts, where: Tensor) -> Tensor:
    """Return the decoder's hidden states [N,D] at `where` [N,2] (row and column; any order, any number of times)."""
    B, _, _, T = packed.mask.shape
    at, numbers = torch.unique(where[:, 0] * T + where[:, 1], return_inverse=True)
    rows = torch.div(at, T, rounding_mode="floor")
    counts = torch.bincount(rows, minlength=B)
    few = torch.arange(int(counts.max()), device=at.device)[None] < counts[:, None]  # [B,n] which entries are used
    columns = torch.zeros(few.shape, dtype=torch.long, device=at.device).masked_scatter(few, at % T)
    mask = packed.mask.gather(2, columns[:, None, :, None].expand(B, 1, -1, T))

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor, limits: Limits = Limits()) -> Tensor:
        """Attend within each row. q: [1,B*T or len(at),H,E]; k, v: [1,B*T,K,E]."""
        k, v = k.view(B, T, *k.shape[2:]), v.view(B, T, *v.shape[2:])
        whole = q.shape[1] == B * T
        queries = q.view(k.shape[:2] + q.shape[2:]) if whole else q.new_zeros(*few.shape, *q.shape[2:])
        if not whole:
            queries = queries.index_put((few,), q[0])
        queries, k, v = (t.transpose(1, 2) for t in (queries, k, v))
        visible = packed.mask if whole else mask
        if limits.window:
            places = packed.positions if whole else packed.positions.gather(1, columns)
            visible = visible & within_window(places, packed.positions, limits.window)[:, None]
        out = attention(queries, k, v, visible, limits.cap).transpose(1, 2)
        return out.reshape(q.shape) if whole else out[few][None]

    hidden: Tensor = model(packed.ids.view(1, -1), packed.positions.view(1, -1), attend, at)
    return hidden[0, numbers]


def best_tokens(rows: Sequence[PromptRow], ranks: Sequence[Sequence[int]]) -> Tensor:
    """Return the places of the best-ranked completions' tokens in packed rows [N,3]: row, column before, column.

    The column before a completion's first token is the prompt's last column.
    """
    places: list[tuple[int, int, int]] = []
    for number, (row, ranked) in enumerate(zip(rows, ranks, strict=True)):
        at = len(row.prompt)
        for completion, rank in zip(row.completions, ranked, strict=True):
            if rank == min(ranked):
                before = [len(row.prompt) - 1, *range(at, at + len(completion) - 1)]
                places.extend((number, b, at + i) for i, b in enumerate(before))
            at += len(completion)
    return torch.tensor(places)
