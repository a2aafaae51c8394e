"""DPO and its kin: what a completion's reward is, and what a pair of rewards costs. One row of a table a method.

    name      reward r of a completion y of n tokens             loss of a pair (w better than l), d = r_w - r_l
    sigmoid   β (log π(y) - log π_ref(y))                        -(1 - ε) log σ(d) - ε log σ(-d)
    ipo       (log π(y) - log π_ref(y)) / n                      (d - 1 / 2β)²
    kto       β (log π(y) - log π_ref(y))                        1 - σ(r_w - z) + 1 - σ(z - r_l)
    simpo     β log π(y) / n                                     as sigmoid, of d - γ
    orpo      log p - log(1 - p),  log p = log π(y) / n          -β log σ(d)

ε: label_smoothing, the share of labels taken for wrong (conservative DPO). γ: margin. z: the batch's mean reward, not
below 0 and without gradient, which stands for β KL. simpo and orpo need no reference; orpo adds the next-token loss of
the best completions, of weight 1.

Sources: Rafailov et al. (2023), equation 7, and Mitchell (2023) for ε; Azar et al. (2023), equation 17, over mean
log-probabilities, as the authors advise; Ethayarajh et al. (2024), equation 8; Meng et al. (2024), equation 6; Hong et
al. (2024), equations 6 and 7. Departures: kto is computed on pairs, with z from the pairs themselves instead of
mismatched ones; with more than two completions all pairs of a ranking count, in every method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from kaiwa.dpo.config import DPOConfig
from kaiwa.reward.loss import pairwise_loss


@dataclass(frozen=True, slots=True)
class Likelihoods:
    """Of all completions of a batch, [M] each: log π, log π_ref, and the numbers of tokens."""

    policy: Tensor
    reference: Tensor
    lengths: Tensor


Rewards = Callable[[Likelihoods, DPOConfig], Tensor]  # -> [M]
PairLoss = Callable[[Tensor, Tensor, Tensor, DPOConfig], Tensor]  # rewards of winners, losers [N], all [M] -> [N]


def _against_reference(of: Likelihoods, config: DPOConfig) -> Tensor:
    return config.beta * (of.policy - of.reference)


def _mean_against_reference(of: Likelihoods, config: DPOConfig) -> Tensor:
    return (of.policy - of.reference) / of.lengths


def _mean_likelihood(of: Likelihoods, config: DPOConfig) -> Tensor:
    return config.beta * of.policy / of.lengths


def _log_odds(of: Likelihoods, config: DPOConfig) -> Tensor:
    mean = (of.policy / of.lengths).clamp(max=-1e-6)
    return mean - torch.log(-torch.expm1(mean))


def _sigmoid(winners: Tensor, losers: Tensor, everything: Tensor, config: DPOConfig) -> Tensor:
    margins = winners - losers - config.margin
    smoothing = config.label_smoothing
    loss = -(1 - smoothing) * F.logsigmoid(margins)
    return loss - smoothing * F.logsigmoid(-margins) if smoothing else loss


def _squared(winners: Tensor, losers: Tensor, everything: Tensor, config: DPOConfig) -> Tensor:
    return (winners - losers - 1 / (2 * config.beta)).square()


def _prospect(winners: Tensor, losers: Tensor, everything: Tensor, config: DPOConfig) -> Tensor:
    zero = everything.detach().mean().clamp(min=0)
    return (1 - torch.sigmoid(winners - zero)) + (1 - torch.sigmoid(zero - losers))


def _odds_ratio(winners: Tensor, losers: Tensor, everything: Tensor, config: DPOConfig) -> Tensor:
    return -config.beta * F.logsigmoid(winners - losers)


METHODS: dict[str, tuple[Rewards, PairLoss]] = {
    "sigmoid": (_against_reference, _sigmoid),
    "ipo": (_mean_against_reference, _squared),
    "kto": (_against_reference, _prospect),
    "simpo": (_mean_likelihood, _sigmoid),
    "orpo": (_log_odds, _odds_ratio),
}


def preference_loss(
    of: Likelihoods, ranks: Sequence[Sequence[int]], config: DPOConfig
) -> tuple[Tensor, Tensor, int, int]:
    """Return the loss, the rewards [M], the number of pairs, and of those that the rewards order correctly."""
    rewards_of, pair_loss = METHODS[config.loss]
    rewards = rewards_of(of, config)
    loss, n_pairs, n_right = pairwise_loss(rewards, ranks, lambda w, l: pair_loss(w, l, rewards, config))  # noqa: E741
    return loss, rewards, n_pairs, n_right
