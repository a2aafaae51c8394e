"""The losses of DPO and its kin, worked by hand on one pair, and that each learns to order a pair."""

import math

import pytest
import torch

from kaiwa.core.errors import UserError
from kaiwa.dpo.config import DPOConfig
from kaiwa.dpo.loss import METHODS, Likelihoods, preference_loss

POLICY, REFERENCE, LENGTHS = torch.tensor([-6.0, -8.0]), torch.tensor([-7.0, -7.0]), torch.tensor([3, 4])
ODDS = [math.log(math.exp(m) / (1 - math.exp(m))) for m in (-2.0, -2.0)]


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(
    ("changes", "rewards", "loss"),
    [
        ({"beta": 0.5}, [0.5, -0.5], -log_sigmoid(1.0)),
        ({"beta": 0.5, "label_smoothing": 0.1}, [0.5, -0.5], -0.9 * log_sigmoid(1.0) - 0.1 * log_sigmoid(-1.0)),
        ({"beta": 0.5, "loss": "ipo"}, [1 / 3, -1 / 4], (1 / 3 + 1 / 4 - 1) ** 2),
        ({"beta": 0.5, "loss": "kto"}, [0.5, -0.5], 2 - sigmoid(0.5) - sigmoid(0.5)),
        ({"beta": 2.0, "loss": "simpo", "margin": 0.5}, [-4.0, -4.0], -log_sigmoid(-0.5)),
        ({"beta": 0.1, "loss": "orpo"}, ODDS, -0.1 * log_sigmoid(0.0)),
    ],
)
def test_a_pair_by_hand(changes: dict[str, object], rewards: list[float], loss: float) -> None:
    config = DPOConfig(**changes)  # type: ignore[arg-type]
    found, of, n_pairs, _ = preference_loss(Likelihoods(POLICY, REFERENCE, LENGTHS), [(0, 1)], config)
    assert of.tolist() == pytest.approx(rewards, abs=1e-5)
    assert float(found) == pytest.approx(loss, abs=1e-5)
    assert n_pairs == 1


@pytest.mark.parametrize("loss", METHODS)
def test_every_method_raises_the_better_completion(loss: str) -> None:
    config = DPOConfig(loss=loss, beta=0.5)  # type: ignore[arg-type]
    policy = torch.tensor([-8.0, -6.0, -7.0], requires_grad=True)
    of = Likelihoods(policy, torch.full((3,), -7.0), torch.tensor([4, 4, 4]))
    before = preference_loss(of, [(0, 2, 1)], config)
    before[0].backward()
    assert policy.grad is not None
    assert policy.grad[0] < 0 < policy.grad[1]
    assert before[2:] == (3, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_smoothing": 0.5}, r"label_smoothing is 0.5; it must be in \[0, 0.5\)"),
        ({"label_smoothing": 0.1, "loss": "ipo"}, "for the losses sigmoid and simpo, not for ipo"),
        ({"margin": 0.1, "loss": "kto"}, "dpo.margin is for"),
    ],
)
def test_what_does_not_go_together(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DPOConfig(**changes)  # type: ignore[arg-type]
