"""Attention as every caller of the decoder computes it: which positions a query sees, and how scores are limited.

Legend of shapes: B rows, T positions in a row, S positions a query may look at, H heads, K key/value heads, E size of a
head.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


class Limits(NamedTuple):
    """Limits of a layer's attention. window: positions that a query looks back over, its own included (0: all of them).
    cap: scores become cap x tanh(score / cap) (Gemma 2; 0: unchanged)."""

    window: int = 0
    cap: float = 0.0


class Attend(Protocol):
    """Attention of one layer. q [B,T,H,E], k and v [B,T,K,E] -> [B,T,H,E]; q and k already carry their positions."""

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, limits: Limits = Limits()) -> Tensor: ...


def attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, cap: float = 0.0, *, causal: bool = False
) -> Tensor:
    """Return attention [B,H,T,E] of q [B,H,T,E] over k, v [B,K,S,E].

    mask [B or 1,1,T,S] bool (True: may look) or None: all positions, or those up to the query's (`causal`, T = S).
    """
    grouped = q.shape[1] != k.shape[1]
    if not cap:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=grouped)
    if grouped:
        k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], dim=1) for t in (k, v))
    scores = torch.tanh(q.float() @ k.float().transpose(2, 3) * (q.shape[-1] ** -0.5 / cap)) * cap
    if causal:
        mask = causal_mask(q.shape[2], q.device)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return (scores.softmax(-1) @ v.float()).to(q.dtype)


def causal_mask(T: int, device: torch.device) -> Tensor:
    """Return the mask [T,T] of positions up to each query's own."""
    return torch.ones(T, T, dtype=torch.bool, device=device).tril()


def within_window(queries: Tensor, keys: Tensor, window: int) -> Tensor:
    """Return the mask [...,T,S] of keys, at positions [...,S], less than `window` before queries at positions
    [...,T]."""
    return keys[..., None, :] > queries[..., :, None] - window


def attend_rows(mask: Tensor | None, positions: Tensor | None = None) -> Attend:
    """Return attention within each row. mask [B,1,T,T] (True: may look) or None for plain causal attention.

    positions [B,T]: of the tokens, where they are not their places in the row up to a constant a document.
    """

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor, limits: Limits = Limits()) -> Tensor:
        T, visible = q.shape[1], mask
        if limits.window and limits.window < T:
            places = torch.arange(T, device=q.device) if positions is None else positions
            near = within_window(places, places, limits.window)
            near = near if positions is None else near[:, None]
            visible = near & (causal_mask(T, q.device) if mask is None else mask)
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        return attention(q, k, v, visible, limits.cap, causal=visible is None).transpose(1, 2)

    return attend


def segment_mask(segments: Tensor) -> Tensor:
    """Return the causal mask [B,1,T,T] within documents, for segments [B,T] (one number per document in a packed
    row)."""
    causal = causal_mask(segments.shape[1], segments.device)
    return ((segments[:, :, None] == segments[:, None, :]) & causal)[:, None]
