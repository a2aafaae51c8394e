"""Rewards and advantages: small pure functions over [B,T] tensors with a mask of the response's tokens.

Sources: InstructGPT section 3.5 and appendix C.4; Schulman et al. (2016) for GAE; Ziegler et al. (2019) for placing
the score at the end and the KL penalty on each token.
"""

from __future__ import annotations

import torch
from torch import Tensor


def end_scores(scores: Tensor, ended: Tensor, penalty: float) -> Tensor:
    """A reply that did not end gets min(score, 0) - penalty: never better than one that did, yet still a signal."""
    return torch.where(ended, scores, scores.clamp(max=0.0) - penalty)


def token_rewards(scores: Tensor, logprobs: Tensor, reference: Tensor, mask: Tensor, beta: float) -> Tensor:
    """-β (log π - log π_SFT) on each token (the k1 estimator), the score on the last. scores [B], the rest [B,T]."""
    rewards = -beta * (logprobs - reference) * mask
    last = mask.sum(dim=1).long() - 1
    rows = torch.arange(len(scores), device=scores.device)
    rewards[rows, last] = rewards[rows, last] + scores
    return rewards


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Advantages and returns [B,T]: d_t = r_t + γ V_{t+1} - V_t, A_t = d_t + γλ A_{t+1}, V after the end is 0."""
    advantages = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        next_value = values[:, t + 1] * mask[:, t + 1] if t + 1 < rewards.shape[1] else torch.zeros_like(following)
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        following = (delta + gamma * lam * following) * mask[:, t]
        advantages[:, t] = following
    return advantages, (advantages + values) * mask


def whiten(x: Tensor, mask: Tensor) -> Tensor:
    """Mean 0 and (biased) standard deviation 1 over the masked entries."""
    n = mask.sum()
    mean = (x * mask).sum() / n
    variance = ((x - mean).square() * mask).sum() / n
    return (x - mean) * torch.rsqrt(variance + 1e-8) * mask


def kl_k3(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Schulman's k3 estimate of KL(π, π_SFT) a token: r - 1 - log r with r = π_SFT/π; never negative."""
    log_ratio = reference - logprobs
    return log_ratio.exp() - 1 - log_ratio


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """1 - Var(returns - values) / Var(returns) over the masked entries."""
    chosen = mask.bool()
    spread = returns[chosen].var(unbiased=False)
    return float(1 - (returns - values)[chosen].var(unbiased=False) / spread) if spread > 0 else float("nan")
