"""log π(y | x) of every completion of packed prompts, for the implicit reward of a policy:

    r(x, y) = β (log π(y | x) - log π_ref(y | x))        (Rafailov et al., 2023, equation 5, without its constant of x)

A packed row holds the prompt once, followed by its completions; the prompt's last token precedes the first token of
every completion.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kaiwa.model.attention import attend_rows
from kaiwa.model.decoder import Decoder
from kaiwa.reward.packing import PromptRow, pack_prompts
from kaiwa.train.likelihood import selected_logprobs
from kaiwa.train.optim import autocast


def completion_tokens(rows: Sequence[PromptRow]) -> Tensor:
    """Return the places of completions' tokens in packed rows [4,N]: row, column before, column, completion number."""
    places: list[tuple[int, int, int, int]] = []
    number = 0
    for row, item in enumerate(rows):
        at = len(item.prompt)
        for completion in item.completions:
            before = [len(item.prompt) - 1, *range(at, at + len(completion) - 1)]
            places.extend((row, b, at + i, number) for i, b in enumerate(before))
            at += len(completion)
            number += 1
    return torch.tensor(places).T


def completion_logprobs(model: Decoder, rows: Sequence[PromptRow], pad: int, device: str) -> tuple[Tensor, Tensor]:
    """Return the summed log-probabilities [M] of all completions in order, and their numbers of tokens [M]."""
    packed = pack_prompts(rows, pad, device)
    row, before, at, number = completion_tokens(rows).to(device)
    m = len(packed.ends)
    with autocast(device):
        hidden = model(packed.ids, packed.positions, attend_rows(packed.mask, packed.positions))
        each = selected_logprobs(model, hidden[row, before], packed.ids[row, at])
    sums = torch.zeros(m, device=device).index_add(0, number, each)
    return sums, torch.bincount(number.cpu(), minlength=m).to(device)


@torch.no_grad()
def reference_logprobs(
    model: Decoder, rows: Sequence[PromptRow], pad: int, device: str, at_once: int = 8
) -> list[Tensor]:
    """Return log π_ref of each row's completions, [K] per row, on the CPU.

    Rows of similar length are computed together, `at_once` rows at a time.
    """
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    by_row: dict[int, Tensor] = {}
    for start in range(0, len(order), at_once):
        part = order[start : start + at_once]
        sums = completion_logprobs(model, [rows[i] for i in part], pad, device)[0].cpu()
        by_row.update(zip(part, sums.split([len(rows[i].completions) for i in part]), strict=True))
    return [by_row[i] for i in range(len(rows))]
