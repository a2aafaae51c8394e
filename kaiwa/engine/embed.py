"""Embeddings of texts by a decoder: the mean of the last layer's hidden states over all tokens, scaled to length 1.

A decoder was not trained for it, so it serves likeness between short texts and not much more.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from kaiwa.core.errors import UserError
from kaiwa.model.decoder import Decoder, attend_rows


@torch.inference_mode()
def embed(decoder: Decoder, ids: Sequence[int]) -> list[float]:
    """Token ids -> d_model numbers of length 1 (fp32). UserError when they do not fit the context."""
    limit, device = decoder.config.max_length, decoder.embed.weight.device
    if not 0 < len(ids) <= limit:
        raise UserError(f"the text has {len(ids)} tokens, the context holds 1 to {limit}; shorten it")
    given = torch.tensor([list(ids)], device=device)
    hidden = decoder(given, torch.arange(len(ids), device=device)[None], attend_rows(None))
    mean = hidden[0].float().mean(dim=0)
    return [float(x) for x in torch.nn.functional.normalize(mean, dim=0)]
