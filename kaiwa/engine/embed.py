"""Embeddings of texts by a decoder: the mean of the last layer's hidden states over all tokens, scaled to length 1.

A decoder was not trained for embeddings, so embeddings serve to compare short texts and not much more.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from kaiwa.engine.rows.torch_adapters import apply_changes, changes_of
from kaiwa.model.adapter import Adapter
from kaiwa.model.attention import attend_rows
from kaiwa.model.decoder import Decoder


@torch.inference_mode()
def embed(decoder: Decoder, ids: Sequence[int], adapter: Adapter | None = None) -> list[float]:
    """Return the embedding of token ids, no more than the context holds: d_model numbers (fp32) of length 1."""
    V, device = decoder.config.vocab_size, decoder.embed.weight.device
    soft = range(V, V + (0 if adapter is None else adapter.n_soft))
    inputs = torch.tensor([[*soft, *ids]], device=device)
    with apply_changes(decoder, changes_of([adapter])):
        hidden = decoder(inputs, torch.arange(inputs.shape[1], device=device)[None], attend_rows(None))
    mean = hidden[0, len(soft) :].float().mean(dim=0)
    return [float(x) for x in torch.nn.functional.normalize(mean, dim=0)]
