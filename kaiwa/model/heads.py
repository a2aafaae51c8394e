"""Scalar heads: a decoder whose unembedding is replaced by a projection to one number (InstructGPT, appendix C.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from kaiwa.model.attention import Attend
from kaiwa.model.decoder import Decoder


class ScalarModel(nn.Module):
    """A reward or value model: the decoder's hidden state to one scalar a position.

    `bias` is not trained: the reward stage sets it so that demonstrations score 0 on average (InstructGPT, C.2).
    """

    bias: Tensor

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder
        self.score = nn.Linear(decoder.config.d_model, 1, bias=False)
        self.register_buffer("bias", torch.zeros(()))

    def forward(self, ids: Tensor, positions: Tensor, attend: Attend, at: Tensor | None = None) -> Tensor:
        """Return scalars [B,T], fp32, of ids, positions [B,T]; at [n]: only scalars of these positions [B,n]."""
        hidden = self.decoder(ids, positions, attend, at)
        return self.score(hidden).squeeze(-1).float() + self.bias  # type: ignore[no-any-return]


def initialise_score(model: ScalarModel, generator: torch.Generator) -> None:
    """Fill the head with N(0, 1/sqrt(d+1)) (Stiennon et al., 2020, whose text misprints the root)."""
    with torch.no_grad():
        d = model.score.in_features
        model.score.weight.normal_(0.0, 1.0 / math.sqrt(d + 1), generator=generator)
