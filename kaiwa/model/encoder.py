"""An encoder that turns texts into vectors: BERT's (Devlin et al. 2019), and its relatives' with the same blocks.

Every token sees every other. Layer normalisation comes after each residual sum (post-norm), positions are learned
rows. MPNet adds a learned number to each attention score, by distance in buckets as T5's (Raffel et al. 2020, section
2.1).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kaiwa.model.encoder_config import EncoderConfig, PoolingMode

MAX_DISTANCE = 128  # beyond it all distances share the last bucket


class EncoderBlock(nn.Module):
    """Attention and feed-forward part, each added to its input and normalised."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        d = config.d_model
        self.n_head, self.activation = config.n_head, config.activation
        self.q, self.k, self.v, self.out = (nn.Linear(d, d) for _ in range(4))
        self.up, self.down = nn.Linear(d, config.d_ff), nn.Linear(config.d_ff, d)
        self.attention_norm, self.output_norm = (nn.LayerNorm(d, eps=config.norm_eps) for _ in range(2))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Return [B,T,d] from [B,T,d]. bias [B|1,H|1,T|1,T]: added to the attention scores."""
        q, k, v = (part(x).unflatten(-1, (self.n_head, -1)).transpose(1, 2) for part in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2)
        x = self.attention_norm(x + self.out(mixed))
        h = self.up(x)
        if self.activation == "relu":
            h = F.relu(h)
        else:
            h = F.gelu(h, approximate="tanh" if self.activation == "gelu_tanh" else "none")
        normed: Tensor = self.output_norm(x + self.down(h))
        return normed


class TextEncoder(nn.Module):
    """The encoder: token ids to hidden states."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        d = config.d_model
        self.words, self.positions = nn.Embedding(config.vocab_size, d), nn.Embedding(config.n_positions, d)
        self.types = nn.Embedding(config.n_types, d) if config.n_types else None
        self.distances = nn.Embedding(config.n_buckets, config.n_head) if config.n_buckets else None
        self.norm = nn.LayerNorm(d, eps=config.norm_eps)
        self.blocks = nn.ModuleList(EncoderBlock(config) for _ in range(config.n_layer))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the hidden states [B,T,d] of ids [B,T]. mask [B,T]: True at tokens, False at padding on the right."""
        T = ids.shape[1]
        places = torch.arange(T, device=ids.device)
        x = self.words(ids) + self.positions(places + self.config.first_position)
        if self.types is not None:
            x = x + self.types.weight[0]
        x = self.norm(x)
        bias = torch.zeros(mask.shape, dtype=x.dtype, device=x.device).masked_fill(~mask, -math.inf)[:, None, None]
        if self.distances is not None:
            bias = bias + self.distances(distance_buckets(places, self.config.n_buckets)).permute(2, 0, 1)[None]
        hidden: Tensor = x
        for block in self.blocks:
            hidden = block(hidden, bias)
        return hidden


def distance_buckets(places: Tensor, n_buckets: int) -> Tensor:
    """Return the bucket [T,T] of each key's distance from each query: half for each side, exact when near, then by
    its logarithm."""
    back = places[:, None] - places[None, :]  # how far a key stands before the query
    half = n_buckets // 2
    exact = half // 2
    far = back.abs().clamp(min=1).float()
    logarithmic = exact + (torch.log(far / exact) / math.log(MAX_DISTANCE / exact) * (half - exact)).long()
    bucket = torch.where(back.abs() < exact, back.abs(), logarithmic.clamp(max=half - 1))
    side: Tensor = half * (back < 0).long()
    return bucket + side


def pool(hidden: Tensor, mask: Tensor, mode: PoolingMode) -> Tensor:
    """Return the vectors [B,d] of texts with hidden states [B,T,d]. mask [B,T]: True at tokens."""
    if mode == "cls":
        return hidden[:, 0]
    if mode == "last":
        return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1]
    inside = mask[..., None]
    if mode == "max":
        return hidden.masked_fill(~inside, -math.inf).amax(dim=1)
    return (hidden * inside).sum(dim=1) / inside.sum(dim=1)
