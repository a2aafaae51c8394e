"""PPO's arithmetic by hand and against slow loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kaiwa.rlhf.advantage import explained_variance, gae, kl_k3, scores_by_end, token_rewards, whiten
from kaiwa.rlhf.loss import policy_loss, value_loss


def test_gae_by_hand() -> None:
    rewards, values = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.2]])
    advantages, returns = gae(rewards, values, torch.ones(1, 2), gamma=1.0, lam=0.5)
    # d_1 = 1 - 0.2 = 0.8; d_0 = 0 + 0.2 - 0.5 = -0.3; A_0 = -0.3 + 0.5 * 0.8
    assert advantages[0].tolist() == pytest.approx([0.1, 0.8])
    assert returns[0].tolist() == pytest.approx([0.6, 1.0])


def slow_gae(r: list[float], v: list[float], gamma: float, lam: float) -> list[float]:
    """A_t = sum over k of (gamma lam)^k d_{t+k}, written as the double loop that it is."""
    n = len(r)
    delta = [r[t] + gamma * (v[t + 1] if t + 1 < n else 0.0) - v[t] for t in range(n)]
    return [sum((gamma * lam) ** (k - t) * delta[k] for k in range(t, n)) for t in range(n)]


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.floats(-2, 2), st.floats(-2, 2)), min_size=1, max_size=8), st.floats(0, 1), st.floats(0, 1)
)
def test_gae_equals_the_double_loop(steps: list[tuple[float, float]], gamma: float, lam: float) -> None:
    r, v = [s[0] for s in steps], [s[1] for s in steps]
    pad = 3  # columns past the end, full of rubbish that the mask must hide
    rewards = torch.tensor([[*r, *[0.0] * pad]], dtype=torch.float64)
    values = torch.tensor([[*v, *[9.0] * pad]], dtype=torch.float64)
    mask = torch.tensor([[1.0] * len(r) + [0.0] * pad], dtype=torch.float64)
    advantages, returns = gae(rewards, values, mask, gamma, lam)
    assert advantages[0, : len(r)].tolist() == pytest.approx(slow_gae(r, v, gamma, lam), abs=1e-9)
    assert advantages[0, len(r) :].abs().sum() == 0
    assert returns[0, len(r) :].abs().sum() == 0


def test_rewards_sit_on_the_last_token() -> None:
    logprobs, reference = torch.tensor([[-1.0, -2.0, 0.0]]), torch.tensor([[-1.5, -2.0, 0.0]])
    mask = torch.tensor([[1.0, 1.0, 0.0]])
    rewards = token_rewards(torch.tensor([3.0]), logprobs, reference, mask, beta=0.2)
    assert rewards[0].tolist() == pytest.approx([-0.1, 3.0, 0.0])


def test_a_reply_that_does_not_end_is_never_better() -> None:
    scores = scores_by_end(torch.tensor([2.0, 2.0, -3.0]), torch.tensor([True, False, False]), penalty=1.0)
    assert scores.tolist() == [2.0, -1.0, -4.0]


def test_whitening() -> None:
    x, mask = torch.tensor([[1.0, 3.0, 100.0]]), torch.tensor([[1.0, 1.0, 0.0]])
    assert whiten(x, mask)[0].tolist() == pytest.approx([-1.0, 1.0, 0.0], abs=1e-4)


def test_k3_is_the_papers_formula_and_never_negative() -> None:
    log_ratio = torch.linspace(-2, 2, 9)
    found = kl_k3(torch.zeros(9), log_ratio)
    expected = [math.exp(x) - 1 - x for x in log_ratio.tolist()]
    assert found.tolist() == pytest.approx(expected, abs=1e-5)
    assert (found >= 0).all()


def test_clipping_stops_the_gradient_where_the_ratio_has_gone_far_enough() -> None:
    old = torch.zeros(1, 4)
    logprobs = torch.log(torch.tensor([[1.5, 0.5, 1.5, 0.5]])).requires_grad_()
    advantages = torch.tensor([[1.0, -1.0, -1.0, 1.0]])
    loss, clipped = policy_loss(logprobs, old, advantages, torch.ones(1, 4), clip=0.2, count=4.0)
    loss.backward()
    # good and already likelier, bad and already rarer: clipped. The other two still push back.
    assert float(loss) == pytest.approx((-1.2 + 0.8 + 1.5 - 0.5) / 4)
    assert logprobs.grad is not None
    assert logprobs.grad[0].tolist() == pytest.approx([0.0, 0.0, 0.375, -0.125])
    assert int(clipped) == 2


def test_value_clipping() -> None:
    values, old, returns = torch.tensor([[2.0]]), torch.tensor([[0.0]]), torch.tensor([[3.0]])
    assert float(value_loss(values, old, returns, torch.ones(1, 1), clip=0.5, count=1.0)) == pytest.approx(0.5 * 2.5**2)
    assert float(value_loss(values, old, returns, torch.ones(1, 1), clip=0.0, count=1.0)) == pytest.approx(0.5)


def test_explained_variance() -> None:
    returns, mask = torch.tensor([[1.0, 2.0, 3.0]]), torch.ones(1, 3)
    assert explained_variance(returns, returns, mask) == pytest.approx(1.0)
    assert explained_variance(torch.zeros(1, 3), returns, mask) == pytest.approx(0.0)
