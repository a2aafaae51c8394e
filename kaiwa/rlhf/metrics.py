"""The metrics of an update's rollouts: how good the replies are, how far from the SFT model, how long."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from kaiwa.rlhf.advantage import explained_variance, kl_k3, kl_tokens
from kaiwa.rlhf.config import Estimator
from kaiwa.rlhf.rollout import Episodes


@dataclass(frozen=True, slots=True)
class Targets:
    """The fixed tensors of the minibatch steps, all [B,T]; values and returns are None without a value model."""

    old: Tensor
    reference: Tensor
    advantages: Tensor
    values: Tensor | None
    returns: Tensor | None


def rollout_metrics(
    batch: Episodes,
    targets: Targets,
    scores: Tensor,
    rewarded: Tensor,
    *,
    beta: float,
    estimator: Estimator,
    usual_scores: tuple[float, float] | None,
) -> dict[str, float]:
    """Return the metrics of a batch, each explained in docs/rlhf.md. scores, rewarded (after the end rule): [B].

    usual_scores: the range of scores on the reward model's held-out data; None where another function scores.
    """
    old, reference = targets.old, targets.reference
    mask = batch.mask.to(old.device)
    penalty = (kl_tokens(old, reference, estimator) * mask).sum(dim=1)
    row = {
        "score": float(scores.mean()),
        "reward": float((rewarded - beta * penalty).mean()),
        "kl": float(((old - reference) * mask).sum(dim=1).mean()),
        "kl_k3": float((kl_k3(old, reference) * mask).sum(dim=1).mean()),
        "entropy": float(-(old * mask).sum() / mask.sum()),
        "ended": float(batch.ended.float().mean()),
        "length": float(mask.sum(dim=1).mean()),
        "response_tokens": float(mask.sum()),
        "distinct": len({r.ids for r in batch.responses}) / len(batch.responses),
    }
    if targets.values is not None and targets.returns is not None:
        row["explained_variance"] = explained_variance(targets.values, targets.returns, mask)
    if usual_scores is not None:
        low, high = usual_scores
        row["score_outside"] = float(((scores < low) | (scores > high)).float().mean())
    return row
