"""The likelihood of text under a model: the loss of packed rows, log-probabilities of given tokens, bits per byte.

    bits per byte = - sum_t log2 p(token_t | before) / bytes of all tokens

Bits per byte, unlike the loss per token, do not depend on the tokenizer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from kaiwa.model.attention import attend_rows, segment_mask
from kaiwa.model.decoder import Decoder
from kaiwa.train.optim import autocast
from kaiwa.train.rows import Rows


def rows_loss(model: Decoder, rows: Sequence[Tensor], *, everywhere: bool = False) -> Tensor:
    """Return the sum over target positions of weight x cross entropy (nats).

    rows: ids, positions, segments, targets, weights, each [B,T], as `Rows.tensors` gives them.
    everywhere: compute the logits of all positions; a compiled step needs shapes that do not depend on the weights.
    """
    ids, positions, segments, targets, weights = rows
    hidden = model(ids, positions, attend_rows(segment_mask(segments)))
    if everywhere:
        hidden, targets, weights = hidden.flatten(0, 1), targets.flatten(), weights.flatten()
    else:
        chosen = weights > 0
        hidden, targets, weights = hidden[chosen], targets[chosen], weights[chosen]
    losses = F.cross_entropy(model.logits(hidden).float(), targets, reduction="none")
    return (losses * weights).sum()


def selected_logprobs(model: Decoder, hidden: Tensor, targets: Tensor, temperature: float = 1.0) -> Tensor:
    """Return log p(target) [N], fp32, at hidden states [N,D] for targets [N]."""
    logits = model.logits(hidden).float()
    if temperature != 1.0:
        logits = logits / temperature
    return -F.cross_entropy(logits, targets, reduction="none")


@torch.no_grad()
def bits_per_byte(model: Decoder, rows: Rows, token_bytes: Sequence[int], device: str = "cpu", batch: int = 8) -> float:
    """Over the target positions of packed rows. token_bytes[v]: how many bytes token v stands for (specials 0)."""
    sizes = torch.tensor(token_bytes, dtype=torch.float32, device=device)
    nats, n_bytes = 0.0, 0.0
    for start in range(0, len(rows.ids), batch):
        part = slice(start, start + batch)
        piece = Rows(rows.ids[part], rows.segments[part], rows.positions[part], rows.weights[part])
        ids, positions, segments, targets, weights = piece.tensors(device)
        with autocast(device):
            nats += float(rows_loss(model, (ids, positions, segments, targets, weights)))
        n_bytes += float((sizes[targets] * weights).sum())
    return nats / math.log(2) / max(1.0, n_bytes)
