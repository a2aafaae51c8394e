"""RLOO, GRPO and PPO's options: hand-worked numbers and slow loops."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kaiwa.core.config import from_json
from kaiwa.core.errors import UserError
from kaiwa.rlhf import config
from kaiwa.rlhf.advantage import (
    adapt_coefficient,
    group_standard,
    kl_tokens,
    left_one_out,
    scores_by_end,
    token_rewards,
    whiten,
)
from kaiwa.rlhf.best_of import choose, kl_bound
from kaiwa.rlhf.config import RLHFConfig
from kaiwa.rlhf.loss import kl_loss, policy_loss, token_weights
from kaiwa.rlhf.prompts import prompt_order


def test_the_core_can_be_read_in_one_sitting() -> None:
    folder = Path(config.__file__).parent
    core = ("config", "rollout", "advantage", "loss", "loop", "run")
    assert sum(len((folder / f"{name}.py").read_text(encoding="utf-8").splitlines()) for name in core) < 900


def test_left_one_out_by_hand() -> None:
    totals = torch.tensor([1.0, 2.0, 6.0, 0.0, 0.0, 3.0])
    # group of three: 1 - (2 + 6) / 2, 2 - (1 + 6) / 2, 6 - (1 + 2) / 2
    assert left_one_out(totals, 3).tolist() == pytest.approx([-3.0, -1.5, 4.5, -1.5, -1.5, 3.0])


def test_group_standard_by_hand() -> None:
    found = group_standard(torch.tensor([1.0, 3.0, 5.0, 5.0]), 2)
    assert found.tolist() == pytest.approx([-1 / math.sqrt(2), 1 / math.sqrt(2), 0.0, 0.0], abs=1e-3)


@settings(max_examples=30)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6), st.floats(-3, 3))
def test_both_baselines_equal_their_definitions_and_ignore_a_shift(scores: list[float], shift: float) -> None:
    x, n = torch.tensor(scores, dtype=torch.float64), len(scores)
    slow = [s - sum(t for j, t in enumerate(scores) if j != i) / (n - 1) for i, s in enumerate(scores)]
    assert left_one_out(x, n).tolist() == pytest.approx(slow, abs=1e-9)
    assert left_one_out(x + shift, n).tolist() == pytest.approx(slow, abs=1e-9)
    assert float(group_standard(x, n).sum()) == pytest.approx(0.0, abs=1e-6)
    assert group_standard(x + shift, n).tolist() == pytest.approx(group_standard(x, n).tolist(), abs=1e-6)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("worse", [2.0, -1.5, -4.5]), ("replace", [2.0, -1.5, -1.5]), ("subtract", [2.0, 0.5, -4.5]),
     ("keep", [2.0, 2.0, -3.0])],
)  # fmt: skip
def test_what_a_reply_without_an_end_gets(rule: str, expected: list[float]) -> None:
    ended = torch.tensor([True, False, False])
    assert scores_by_end(torch.tensor([2.0, 2.0, -3.0]), ended, 1.5, rule).tolist() == expected  # type: ignore[arg-type]


def test_the_three_estimates_of_the_kl() -> None:
    new, old = torch.tensor([-1.0]), torch.tensor([-1.5])
    found = [float(kl_tokens(new, old, k)) for k in ("k1", "k2", "k3")]  # type: ignore[arg-type]
    assert found == pytest.approx([0.5, 0.125, math.exp(-0.5) - 1 + 0.5])
    rewards = token_rewards(torch.tensor([1.0]), new[None], old[None], torch.ones(1, 1), beta=2.0, estimator="k2")
    assert float(rewards) == pytest.approx(1.0 - 2.0 * 0.125)


def test_k1_and_k3_are_unbiased_and_k3_varies_less() -> None:
    generator = torch.Generator().manual_seed(0)
    p, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.4, 0.4, 0.2])
    drawn = torch.multinomial(p, 200_000, replacement=True, generator=generator)
    exact = float((p * (p / q).log()).sum())
    k1, k3 = (kl_tokens(p.log()[drawn], q.log()[drawn], k) for k in ("k1", "k3"))  # type: ignore[arg-type]
    assert float(k1.mean()) == pytest.approx(exact, abs=2e-3)
    assert float(k3.mean()) == pytest.approx(exact, abs=2e-3)
    assert float(k3.std()) < float(k1.std()) / 2


def test_the_controller_by_hand() -> None:
    assert adapt_coefficient(0.1, 12.0, 6.0, 1000, 100) == pytest.approx(
        0.1 * 1.02
    )  # twice the target: the error is cut to 0.2
    assert adapt_coefficient(0.1, 5.4, 6.0, 1000, 100) == pytest.approx(0.1 * (1 - 0.1 * 0.1))
    assert adapt_coefficient(0.1, 6.0, 6.0, 1000, 100) == 0.1


def test_rewards_are_whitened_with_their_mean_kept() -> None:
    x, mask = torch.tensor([[1.0, 3.0, 100.0]]), torch.tensor([[1.0, 1.0, 0.0]])
    assert whiten(x, mask, keep_mean=True)[0].tolist() == pytest.approx([1.0, 3.0, 0.0], abs=1e-4)


def test_what_a_token_weighs() -> None:
    mask = torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0]])
    for method, first, second in (("ppo", 0.2, 0.2), ("rloo", 0.5, 0.5), ("grpo", 0.125, 0.5)):
        weights, count = token_weights(mask, method, 5.0, 2)  # type: ignore[arg-type]
        assert float(weights[0, 0] / count) == pytest.approx(first)
        assert float(weights[1, 0] / count) == pytest.approx(second)


def test_rloo_is_reinforce_where_the_policy_has_not_moved() -> None:
    """Its gradient: the mean over responses of - advantage x gradient of the response's log-probability."""
    logprobs = torch.tensor([[-1.0, -2.0], [-0.5, 0.0]], requires_grad=True)
    mask, advantages = torch.tensor([[1.0, 1.0], [1.0, 0.0]]), torch.tensor([[2.0, 2.0], [-2.0, 0.0]])
    weights, count = token_weights(mask, "rloo", 3.0, 2)
    loss, clipped = policy_loss(logprobs, logprobs.detach(), advantages, weights, clip=0.2, count=count)
    loss.backward()
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [[-1.0, -1.0], [1.0, 0.0]]
    assert int(clipped) == 0


def test_grpos_penalty_by_hand() -> None:
    new, reference = torch.tensor([[-1.0, -1.0]]), torch.tensor([[-1.5, -1.0]])
    weights, count = token_weights(torch.ones(1, 2), "grpo", 2.0, 1)
    expected = 0.3 * (math.exp(-0.5) - 1 + 0.5) / 2
    assert float(kl_loss(new, reference, weights, 0.3, count)) == pytest.approx(expected)


def test_prompts_are_dealt_once_a_pass_wherever_one_starts() -> None:
    whole = prompt_order(5, 3, 0, 20)
    assert all(sorted(whole[i : i + 5]) == list(range(5)) for i in range(0, 20, 5))
    assert prompt_order(5, 3, 7, 6) == whole[7:13]
    assert prompt_order(5, 4, 0, 20) != whole


def test_the_best_of_n_and_its_kl() -> None:
    assert choose(torch.tensor([1.0, 3.0, 3.0, 0.0, -1.0, -2.0]), 3) == [1, 3]
    assert kl_bound(1) == 0
    assert kl_bound(16) == pytest.approx(math.log(16) - 15 / 16)


@pytest.mark.parametrize(
    ("bad", "said"),
    [({"method": "rloo"}, "compares 2 or more"), ({"batch": 8, "group": 3}, "not a multiple of group"),
     ({"kl_target": 6.0, "kl_coefficient": 0.0}, "start it above 0"),
     ({"lr": -1.0}, "lr is -1.0; it must be above 0"),
     ({"method": "rloo", "group": 2, "shared_trunk": True}, "rloo has none"),
     ({"ptx_ratio": 1.0, "ptx_coefficient": 1.0}, "set one to 0"),
     ({"kl_coefficient": -1.0}, "at least 0"), ({"minibatches": 3}, "not a multiple of minibatches")],
)  # fmt: skip
def test_impossible_settings_are_refused(bad: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        from_json(RLHFConfig, bad)


def test_grpos_corrections_by_hand() -> None:
    scores = torch.tensor([1.0, 3.0, 5.0, 5.0])
    assert group_standard(scores, 2, "none").tolist() == [-1.0, 1.0, 0.0, 0.0]
    mask = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    weights, count = token_weights(mask, "grpo", 3.0, 3)
    assert (weights.tolist(), count) == ([[1.0, 0.0], [0.5, 0.5], [0.0, 0.0]], 3.0)  # a masked response weighs nothing
    assert token_weights(mask, "grpo", 3.0, 3, scale="tokens")[1] == 3.0
    weights, count = token_weights(mask, "grpo", 3.0, 3, scale="constant", most=4)
    assert (weights.tolist(), count) == (mask.tolist(), 12.0)


def test_an_asymmetric_clip_lets_rare_tokens_rise_further() -> None:
    ratio, one = torch.tensor([[1.25]]).log(), torch.ones(1, 1)
    for high, clipped in ((0.0, 1), (0.28, 0)):
        loss, n = policy_loss(ratio, 0 * one, one, one, clip=0.2, count=1, clip_high=high)
        assert int(n) == clipped
        assert float(loss) == pytest.approx(-1.2 if clipped else -1.25)
