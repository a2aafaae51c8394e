"""An 8-bit unembedding: at one row, reading the vocabulary's weights is a quarter of a small model's whole step.

One scale per row of the weight, w = scale * q. Few rows go through torch's int8 product (bf16 activations); many rows
through the dense weight, which is the tied embedding and in memory anyway.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEW_ROWS = 8
ROWS = 4096  # of a vocabulary rounded at a time: the fp32 copies stay small


class Int8Linear(nn.Module):
    """x [..., in] bf16 -> [..., out]. `weight` stays the dense weight (shared with the embedding). Not for training."""

    q: Tensor
    scales: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight
        scales, q = torch.empty(len(weight), dtype=torch.bfloat16), torch.empty(weight.shape, dtype=torch.int8)
        for start in range(0, len(weight), ROWS):
            rows = weight.detach()[start : start + ROWS].float()
            scale = (rows.abs().amax(dim=1).clamp(min=1e-8) / 127).bfloat16()
            scales[start : start + ROWS] = scale
            q[start : start + ROWS] = rows.div_(scale.float()[:, None]).round_().clamp_(-127, 127)
        self.register_buffer("q", q, persistent=False)
        self.register_buffer("scales", scales, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the product [..., out] of x [..., in]."""
        if x.numel() <= FEW_ROWS * x.shape[-1] and not x.requires_grad:  # the product has no gradient
            y = torch.ops.aten._weight_int8pack_mm(x.reshape(-1, x.shape[-1]), self.q, self.scales)
            return y.view(*x.shape[:-1], -1)  # type: ignore[no-any-return]
        return F.linear(x, self.weight)
