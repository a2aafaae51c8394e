"""Rewards and advantages: small pure functions over [B,T] tensors with a mask of the response's tokens.

Sources: InstructGPT section 3.5 and appendix C.4; Schulman et al. (2016) for GAE; Ziegler et al. (2019) for the score
at the last token, the KL penalty on each token and the controller of β; Ahmadian et al. (2024) for RLOO; Shao et al.
(2024) for GRPO.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from kaiwa.rlhf.config import EndRule, Estimator


def scores_by_end(scores: Tensor, ended: Tensor, penalty: float, rule: EndRule = "worse") -> Tensor:
    """Apply the rule for replies that did not end to their scores s with penalty p. scores, ended, result: [B].

    worse     min(s, 0) - p   at most -p, but still depends on the score (kaiwa's default)
    replace   -p              ignores the score (Huang et al., 2024)
    subtract  s - p           TRL's `missing_eos_penalty`
    keep      s
    """
    if rule == "keep":
        return scores
    if rule == "replace":
        unfinished = torch.full_like(scores, -penalty)
    elif rule == "subtract":
        unfinished = scores - penalty
    else:
        unfinished = scores.clamp(max=0.0) - penalty
    return torch.where(ended, scores, unfinished)


def kl_tokens(logprobs: Tensor, reference: Tensor, estimator: Estimator) -> Tensor:
    """Return Schulman's estimate of KL(π, π_SFT) at each sampled token [B,T].

    k1: log π/π_SFT; k2: half the square of k1; k3: `kl_k3`. logprobs, reference: [B,T].
    """
    if estimator == "k1":
        return logprobs - reference
    if estimator == "k2":
        return 0.5 * (logprobs - reference).square()
    return kl_k3(logprobs, reference)


def kl_k3(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Return Schulman's k3 estimate of KL(π, π_SFT) per token [B,T]: r - 1 - log r with r = π_SFT/π; never negative."""
    log_ratio = reference - logprobs
    return log_ratio.exp() - 1 - log_ratio


def token_rewards(
    scores: Tensor, logprobs: Tensor, reference: Tensor, mask: Tensor, *, beta: float, estimator: Estimator = "k1"
) -> Tensor:
    """Return the reward of each token [B,T]: -β times the KL estimate, plus the score at the last token.

    scores: [B]; logprobs, reference, mask: [B,T].
    """
    rewards = -beta * kl_tokens(logprobs, reference, estimator) * mask
    last = mask.sum(dim=1).long() - 1
    rows = torch.arange(len(scores), device=scores.device)
    rewards[rows, last] = rewards[rows, last] + scores
    return rewards


def adapt_coefficient(beta: float, kl: float, target: float, horizon: float, n: int) -> float:
    """Return β (1 + clip(kl / target - 1, ±0.2) n / horizon), the next β after n episodes with a mean KL of `kl` nats.

    Source: Ziegler et al., 2019, section 2.2.
    """
    error = min(0.2, max(-0.2, kl / target - 1))
    return beta * (1 + error * n / horizon)


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Return GAE advantages and returns, both [B,T]: d_t = r_t + γ V_{t+1} - V_t, A_t = d_t + γλ A_{t+1}.

    V after the last token is 0. rewards, values, mask: [B,T].
    """
    advantages = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        next_value = values[:, t + 1] * mask[:, t + 1] if t + 1 < rewards.shape[1] else torch.zeros_like(following)
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        following = (delta + gamma * lam * following) * mask[:, t]
        advantages[:, t] = following
    return advantages, (advantages + values) * mask


def left_one_out(totals: Tensor, group: int) -> Tensor:
    """Return RLOO's advantages [B]: each response's total minus the mean of the other responses in its group.

    totals: [B], the responses of a group in consecutive entries.
    """
    by_prompt = totals.view(-1, group)
    others = (by_prompt.sum(dim=1, keepdim=True) - by_prompt) / (group - 1)
    return (by_prompt - others).flatten()


def group_standard(scores: Tensor, group: int, scale: Literal["std", "none"] = "std") -> Tensor:
    """Return GRPO's advantages [B]: (score - mean of its group) / (unbiased) standard deviation of its group.

    scores: [B], the responses of a group in consecutive entries. Equal scores give advantages of 0. scale "none":
    without the division, which favours prompts that are nearly always or never answered (Liu et al., 2025, section 3).
    """
    by_prompt = scores.view(-1, group)
    centred = by_prompt - by_prompt.mean(dim=1, keepdim=True)
    if scale == "none":
        return centred.flatten()
    return (centred / (by_prompt.std(dim=1, keepdim=True) + 1e-4)).flatten()


def whiten(x: Tensor, mask: Tensor, keep_mean: bool = False) -> Tensor:
    """Normalise x [B,T] over the masked entries to mean 0 (or unchanged) and (biased) standard deviation 1."""
    n = mask.sum()
    mean = (x * mask).sum() / n
    variance = ((x - mean).square() * mask).sum() / n
    white = (x - mean) * torch.rsqrt(variance + 1e-8) * mask
    return white + mean * mask if keep_mean else white


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """Return 1 - Var(returns - values) / Var(returns) over the masked entries, NaN for constant returns. All: [B,T]."""
    chosen = mask.bool()
    spread = returns[chosen].var(unbiased=False)
    return float(1 - (returns - values)[chosen].var(unbiased=False) / spread) if spread > 0 else float("nan")
