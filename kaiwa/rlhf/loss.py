"""The clipped losses of PPO (Schulman et al., 2017, equation 7; value clipping as in Ziegler et al., 2019).

All losses are sums over tokens divided by the caller's `count`, so that the gradient does not depend on the size of the
microbatches. The count is the number of tokens of the minibatch for PPO, and of responses for RLOO (a response's
gradient is the sum over its tokens) and GRPO (with weights of 1 / length in place of the mask).
"""

from __future__ import annotations

import torch
from torch import Tensor

from kaiwa.rlhf.advantage import kl_k3
from kaiwa.rlhf.config import Method, TokenScale


def policy_loss(
    logprobs: Tensor,
    old: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    clip: float,
    count: float,
    clip_high: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Return the clipped loss and the number of clipped tokens. All: [B,T]; mask: a token's weight, 0 for padding.

    clip_high: the upper clip (0: as clip), since an equal clip holds rare tokens down (Yu et al., 2025, section 3.1).
    """
    ratio = torch.exp(logprobs - old)
    plain = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip, 1 + (clip_high or clip))
    loss = (torch.maximum(plain, clipped) * mask).sum() / count
    return loss, ((clipped > plain) & (mask > 0)).sum()


def kl_loss(logprobs: Tensor, reference: Tensor, mask: Tensor, beta: float, count: float) -> Tensor:
    """Return β times the k3 estimate of the KL, as in GRPO's loss (Shao et al., 2024, equation 4). All: [B,T]."""
    return beta * (kl_k3(logprobs, reference) * mask).sum() / count


def token_weights(
    mask: Tensor, method: Method, n_tokens: float, n_responses: int, *, scale: TokenScale = "response", most: int = 1
) -> tuple[Tensor, float]:
    """Return the tokens' weights [B,T] and the count to divide by. n_tokens, n_responses: of the whole minibatch.

    scale: of GRPO's tokens, since 1 / length favours long wrong responses (Liu et al., 2025, section 3): "tokens" gives
    all tokens of the minibatch one weight, "constant" divides by `most`, the largest length.
    """
    if method == "ppo":
        return mask, n_tokens
    if method == "rloo":
        return mask, float(n_responses)
    if scale == "tokens":
        return mask, n_tokens
    if scale == "constant":
        return mask, float(n_responses * most)
    return mask / mask.sum(dim=1, keepdim=True).clamp(min=1), float(n_responses)


def value_loss(values: Tensor, old: Tensor, returns: Tensor, mask: Tensor, *, clip: float, count: float) -> Tensor:
    """Return sum(max(plain, clipped squared error)) / (2 * count); clip 0: only the plain error. All: [B,T]."""
    error = (values - returns).square()
    if clip > 0:
        near = old + (values - old).clamp(-clip, clip)
        error = torch.maximum(error, (near - returns).square())
    return 0.5 * (error * mask).sum() / count
