"""The clipped losses of PPO (Schulman et al., 2017, equation 7; value clipping as in Ziegler et al., 2019).

Both are sums over tokens divided by a count that the caller gives, so that the gradient does not depend on how a
minibatch is cut into microbatches.
"""

from __future__ import annotations

import torch
from torch import Tensor


def policy_loss(
    logprobs: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, clip: float, n_tokens: float
) -> tuple[Tensor, Tensor]:
    """The loss and the number of tokens whose ratio was clipped. All [B,T]."""
    ratio = torch.exp(logprobs - old)
    plain = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip, 1 + clip)
    loss = (torch.maximum(plain, clipped) * mask).sum() / n_tokens
    return loss, ((clipped > plain) * mask).sum()


def value_loss(values: Tensor, old: Tensor, returns: Tensor, mask: Tensor, clip: float, n_tokens: float) -> Tensor:
    """Half the larger of the plain and the clipped squared error (clip 0: plain)."""
    error = (values - returns).square()
    if clip > 0:
        near = old + (values - old).clamp(-clip, clip)
        error = torch.maximum(error, (near - returns).square())
    return 0.5 * (error * mask).sum() / n_tokens
