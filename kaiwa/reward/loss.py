"""The ranking loss of InstructGPT (equation 1); ties count neither in the sum nor in the number of pairs.

    loss = mean over prompts of   - 1/|pairs|  sum over pairs (w better than l)  log sigmoid(r_w - r_l)

All pairs of a prompt are one batch element, and each prompt has the same weight, independent of its K. A prompt whose
completions are all tied is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def pairs(ranks: Sequence[int]) -> list[tuple[int, int]]:
    """Return (winner, loser) for every pair of completions with different ranks (0 is best)."""
    n = len(ranks)
    return [(i, j) for i in range(n) for j in range(n) if ranks[i] < ranks[j]]


def logistic(winners: Tensor, losers: Tensor) -> Tensor:
    """Return -log sigmoid(winner - loser) of each pair [N]."""
    return -F.logsigmoid(winners - losers)


def pairwise_loss(
    scores: Tensor,
    groups: Sequence[Sequence[int]],
    pair_loss: Callable[[Tensor, Tensor], Tensor] = logistic,
) -> tuple[Tensor, int, int]:
    """Return the loss, the number of pairs, and the number of pairs that the scores order correctly.

    scores: [M], all completions in order; groups: the ranks of each prompt's completions, in the same order. pair_loss:
    (winners' scores [N], losers' [N]) -> losses [N].
    """
    losses, n_pairs, n_right, at = [], 0, 0, 0
    for ranks in groups:
        decided = pairs(ranks)
        if decided:
            winners, losers = torch.tensor(decided, device=scores.device).T + at
            losses.append(pair_loss(scores[winners], scores[losers]).mean())
            n_pairs += len(decided)
            n_right += int((scores[winners] > scores[losers]).sum())
        at += len(ranks)
    if not losses:
        return scores.sum() * 0.0, 0, 0
    return torch.stack(losses).mean(), n_pairs, n_right
