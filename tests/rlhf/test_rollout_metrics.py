"""The metrics of an update, worked out by hand on two replies."""

import math

import pytest
import torch

from kaiwa.rlhf.metrics import Targets, rollout_metrics
from kaiwa.rlhf.rollout import Episodes, episodes
from kaiwa.text.records import Completion

REPLIES = [
    Completion(text="a", ids=(4, 5), logprobs=(-1.0, -2.0)),
    Completion(text="b", ids=(4,), logprobs=(-3.0,), finish_reason="length"),
]
OLD = torch.tensor([[-1.0, -2.0], [-3.0, 0.0]])
REFERENCE = torch.tensor([[-1.5, -2.25], [-2.0, 0.0]])


def batch(replies: list[Completion] = REPLIES) -> Episodes:
    return episodes([[1], [2, 3]], replies, eos=9)


def metrics(
    *, beta: float = 0.5, estimator: str = "k1",
    values: torch.Tensor | None = None, returns: torch.Tensor | None = None,
    usual: tuple[float, float] | None = None, replies: list[Completion] = REPLIES,
) -> dict[str, float]:  # fmt: skip
    targets = Targets(OLD, REFERENCE, torch.zeros(2, 2), values, returns)
    scores, rewarded = torch.tensor([2.0, 4.0]), torch.tensor([2.0, -1.0])
    return rollout_metrics(
        batch(replies), targets, scores, rewarded, beta=beta, estimator=estimator, usual_scores=usual,  # type: ignore[arg-type]
    )  # fmt: skip


def test_by_hand() -> None:
    row = metrics()
    # KL of the first reply: 0.5 + 0.25, of the second: -1
    assert row["kl"] == pytest.approx((0.75 - 1.0) / 2)
    assert row["score"] == pytest.approx(3.0)  # before the rule for replies that do not end
    assert row["reward"] == pytest.approx(((2.0 - 0.5 * 0.75) + (-1.0 + 0.5)) / 2)
    assert row["entropy"] == pytest.approx((1.0 + 2.0 + 3.0) / 3)
    assert row["ended"] == 0.5
    assert row["length"] == 1.5
    assert row["response_tokens"] == 3
    assert row["distinct"] == 1.0
    k3 = [math.exp(r) - 1 - r for r in (-0.5, -0.25, 1.0)]
    assert row["kl_k3"] == pytest.approx((k3[0] + k3[1] + k3[2]) / 2, abs=1e-6)


def test_the_penalty_in_the_reward_follows_the_estimator() -> None:
    squares = [0.5 * 0.5**2 + 0.5 * 0.25**2, 0.5]
    row = metrics(estimator="k2", beta=2.0)
    assert row["reward"] == pytest.approx((2.0 - 2 * squares[0] - 1.0 - 2 * squares[1]) / 2)
    assert row["kl"] == pytest.approx(metrics()["kl"])  # what is logged as KL stays k1


def test_without_a_penalty_the_reward_is_the_score_after_the_end_rule() -> None:
    assert metrics(beta=0.0)["reward"] == pytest.approx(0.5)


def test_equal_replies_are_one() -> None:
    assert metrics(replies=[REPLIES[0], Completion(text="a", ids=(4, 5), logprobs=(-1.0, -2.0))])["distinct"] == 0.5


def test_the_value_model_is_measured_on_response_tokens_only() -> None:
    returns = torch.tensor([[1.0, 2.0], [3.0, 50.0]])  # the last one is padding
    assert metrics(values=returns.clone(), returns=returns)["explained_variance"] == pytest.approx(1.0)
    # residuals 0, 0, 1 beside returns 1, 2, 3 : 1 - (2/9) / (2/3)
    values = torch.tensor([[1.0, 2.0], [2.0, -7.0]])
    assert metrics(values=values, returns=returns)["explained_variance"] == pytest.approx(2 / 3, abs=1e-5)
    assert "explained_variance" not in metrics()


@pytest.mark.parametrize(
    ("usual", "share"), [((0.0, 5.0), 0.0), ((2.0, 4.0), 0.0), ((2.5, 5.0), 0.5), ((9.0, 9.5), 1.0)]
)
def test_scores_outside_the_usual_range(usual: tuple[float, float], share: float) -> None:
    assert metrics(usual=usual)["score_outside"] == share
    assert "score_outside" not in metrics()
