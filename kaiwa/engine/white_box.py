"""Gradients with respect to the tokens of a prompt: which other tokens would make a given answer likelier.

The first step of greedy coordinate gradient (Zou et al., 2023, section 2.2): with e_i the embedding of token i, the
loss of the answer changes by about (e_v - e_i) . dL/de_i where token i becomes v. So the k tokens v with the smallest
e_v . dL/de_i are worth a try; their true losses are the caller's to compute.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from kaiwa.core.errors import UserError
from kaiwa.model.attention import attend_rows
from kaiwa.model.decoder import Decoder
from kaiwa.tokenizer.tokenizer import Tokenizer


def best_swaps(
    decoder: Decoder, tokenizer: Tokenizer, ids: Sequence[int], answer: Sequence[int], *, stretch: str, k: int
) -> list[tuple[str, tuple[str, ...]]]:
    """Return (token's text, its k most promising replacements) for each token of the last place of `stretch`.

    ids: the prompt's; answer: ids of the answer that is to become likelier. UserError where the stretch is not in the
    prompt as tokens of its own, or the weights give no gradient (four bits on a card).
    """
    start, end = find_tokens(tokenizer, ids, stretch)
    gradient, table = _gradient(decoder, [*ids, *answer], len(ids))
    scores = gradient[start:end].float() @ table.float().T  # [n,V]; a constant a token is left out
    scores[:, ~_printable(tokenizer, table.shape[0])] = torch.inf
    chosen = scores.topk(k, dim=-1, largest=False).indices.tolist()
    texts = [tokenizer.decode([id]) for id in ids[start:end]]
    return [(own, tuple(tokenizer.decode([id]) for id in row)) for own, row in zip(texts, chosen, strict=True)]


def find_tokens(tokenizer: Tokenizer, ids: Sequence[int], stretch: str) -> tuple[int, int]:
    """Return the range of tokens that write the last occurrence of a text. UserError where it does not occur."""
    text, whole = stretch.encode(), tokenizer.decode_bytes(ids)
    place = whole.rfind(text)
    if place < 0 or not text:
        raise UserError(f"{stretch[:40]!r} is not in the prompt as the model reads it; a defence may rewrite it")
    ends, at = [], 0
    for id in ids:
        at += len(tokenizer.decode_bytes([id]))
        ends.append(at)
    start = next(i for i, end in enumerate(ends) if end > place)
    end = next(i for i, end in enumerate(ends) if end >= place + len(text))
    return start, end + 1


def _gradient(decoder: Decoder, ids: Sequence[int], n_prompt: int) -> tuple[Tensor, Tensor]:
    """Return the gradient [T,D] of the answer's loss by the embeddings, and the embedding table [V,D]."""
    device = decoder.embed.weight.device
    row = torch.tensor([list(ids)], device=device)
    positions = torch.arange(len(ids), device=device)[None]
    embedded: list[Tensor] = []

    def take(module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[0]

    hook = decoder.embed.register_forward_hook(take)
    frozen = [parameter for parameter in decoder.parameters() if parameter.requires_grad]
    try:
        for parameter in frozen:
            parameter.requires_grad_(False)
        with torch.enable_grad():
            hidden = decoder(row, positions, attend_rows(None), torch.arange(n_prompt - 1, len(ids) - 1, device=device))
            logits = decoder.logits(hidden)[0].float()
            loss = torch.nn.functional.cross_entropy(logits, row[0, n_prompt:])
            (gradient,) = torch.autograd.grad(loss, embedded)
    except (RuntimeError, NotImplementedError) as error:
        raise UserError(f"these weights give no gradient ({str(error).splitlines()[0][:80]})") from None
    finally:
        hook.remove()
        for parameter in frozen:
            parameter.requires_grad_(True)
    return gradient[0], decoder.embed.weight


@lru_cache(maxsize=4)
def _printable(tokenizer: Tokenizer, rows: int) -> Tensor:
    """Return the mask [V] of tokens of printable ASCII, which a user can type and every tokenizer reads alike."""
    mask = torch.zeros(rows, dtype=torch.bool)
    for id in range(min(rows, tokenizer.vocab_size)):
        text = tokenizer.decode_bytes((id,)).decode("latin-1")  # no text for special tokens
        mask[id] = bool(text.strip()) and text.isascii() and text.isprintable()
    return mask
