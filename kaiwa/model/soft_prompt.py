"""Soft prompts: n vectors before the conversation are learned, everything else stays (Lester et al., 2021, section 2).

The vectors are rows of the embedding beyond the vocabulary, tokens that no text turns into; a chat template puts these
tokens first. So a model with a soft prompt is an ordinary model folder, and no reader must know of the soft prompt.

Departures: the prompt starts from the embeddings of given tokens (Lester et al.: of the likeliest or of the labels'),
and in the finished model the new tokens need rows in the unembedding too. These rows copy the row of the token that the
model finds least likely, so that no new token is ever drawn: probabilities over the old vocabulary keep their ratios.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kaiwa.core.errors import UserError
from kaiwa.model.decoder import Decoder


class SoftEmbedding(nn.Module):
    """ids [B,T] -> [B,T,D]: the frozen embedding, and `soft` [n,D] for ids from the vocabulary's end on."""

    def __init__(self, inner: nn.Embedding, start: Tensor) -> None:
        super().__init__()
        self.inner = inner
        self.soft = nn.Parameter(start)

    @property
    def weight(self) -> Tensor:
        """The vocabulary's vectors [V,D]."""
        return self.inner.weight

    def forward(self, ids: Tensor) -> Tensor:
        """Return the vectors [..., D] of ids [...]; ids from V on are the soft prompt's."""
        first = self.inner.weight.shape[0]
        beyond = ids >= first
        known = self.inner(ids.masked_fill(beyond, 0))
        return torch.where(beyond[..., None], F.embedding((ids - first).clamp(min=0), self.soft), known)


def add_soft_prompt(decoder: Decoder, start_ids: Tensor) -> None:
    """Freeze the decoder and add len(start_ids) new ids, whose vectors begin as the vectors of `start_ids` [n]."""
    if not 1 <= len(start_ids) < decoder.config.max_length:
        raise UserError(f"{len(start_ids)} soft tokens: give 1 to {decoder.config.max_length - 1}, the model's context")
    decoder.requires_grad_(False)
    decoder.embed = SoftEmbedding(decoder.embed, decoder.embed.weight[start_ids].detach().clone())  # type: ignore[assignment]


@torch.no_grad()
def merge_soft_prompt(decoder: Decoder, unlikely: int) -> Decoder:
    """Return a plain decoder whose vocabulary ends with the soft prompt; its logits are always the logits of token
    `unlikely`.
    """
    embed = decoder.embed
    assert isinstance(embed, SoftEmbedding)
    n, c = len(embed.soft), decoder.config
    merged = Decoder(dataclasses.replace(c, vocab_size=c.vocab_size + n, tie_embeddings=False))
    rest = {name: t for name, t in decoder.state_dict().items() if not name.startswith(("embed.", "unembed."))}
    unembed = decoder.unembed.weight
    new = {
        "embed.weight": torch.cat((embed.inner.weight, embed.soft)),
        "unembed.weight": torch.cat((unembed, unembed[unlikely].expand(n, -1))),
    }
    merged.load_state_dict(rest | new)
    return merged.to(unembed.device)


@torch.no_grad()
def least_likely(decoder: Decoder, hidden: Tensor) -> int:
    """Return the token whose highest probability at some hidden states [N,D] is the lowest."""
    return int(torch.log_softmax(decoder.logits(hidden).float(), dim=-1).amax(dim=0).argmin())
