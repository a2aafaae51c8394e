"""One update of reinforcement learning, its parts one by one: prompts, targets, steps, pretraining text, controller."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kaiwa.core.artifact import Artifact
from kaiwa.core.context import Context
from kaiwa.core.errors import UserError
from kaiwa.model.decoder import make_decoder
from kaiwa.rlhf.config import Penalty, Pretraining, Returns, RLHFConfig, Steps
from kaiwa.rlhf.loop import Loop
from kaiwa.rlhf.metrics import Targets
from kaiwa.rlhf.models import open_models
from kaiwa.rlhf.rollout import Episodes, episodes
from kaiwa.text.records import Completion
from kaiwa.train.likelihood import rows_loss
from kaiwa.train.optim import gradient_norm
from kaiwa.train.rows import Mixture, TokenStream
from tests.tiny_models import policy_folder, reward_folder, tiny_config

PROMPTS = [(5, 6, 7), (8, 9), (10,), (11, 12, 13, 14), (15, 16)]
BATCH = episodes(
    [(5, 6), (5, 6), (8,), (8,)],
    [Completion(text="", ids=ids) for ids in ((20, 21), (22,), (23, 24, 25), (26, 27))],
    eos=1,
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, Artifact]:
    root = tmp_path_factory.mktemp("loop")
    return policy_folder(root / "policy"), reward_folder(root / "reward")


def by_length_of_reply(prompts: Sequence[Sequence[int]], replies: Sequence[Completion]) -> Tensor:
    return torch.tensor([float(len(reply.ids)) for reply in replies])


def make(
    folders: tuple[Artifact, Artifact], *, reward: bool = False, lines: list[str] | None = None,
    mixture: Mixture | None = None, score: Any = by_length_of_reply, usual: tuple[float, float] | None = None,
    **changes: Any,
) -> Loop:  # fmt: skip
    config = RLHFConfig(**({"batch": 4, "minibatches": 1, "microbatch": 2, "max_tokens": 5} | changes))
    ctx = Context(seed=2, say=lines.append if lines is not None else lambda line: None)
    models = open_models(config, ctx, folders[0], folders[1] if reward else None)
    return Loop(config, ctx, models, PROMPTS, mixture=mixture, score=score, usual_scores=usual)


def text_rows() -> Mixture:
    tokens = np.arange(200, dtype=np.int32) % 90
    return Mixture([TokenStream(tokens, np.array([0, 120, 200]), 8, 0, "text")], [1.0])


def logprobs(loop: Loop, batch: Episodes = BATCH) -> Tensor:
    with torch.no_grad():
        return loop.logprobs(loop.policy, batch)


def moved(loop: Loop, before: Sequence[Tensor]) -> float:
    return max(float((a - b).detach().abs().max()) for a, b in zip(loop.policy.parameters(), before, strict=True))


def test_an_updates_prompts_stand_in_groups_and_all_come_in_a_pass(folders: tuple[Artifact, Artifact]) -> None:
    loop = make(folders, method="rloo", group=2)
    first = loop.next_prompts()
    assert [first[0], first[2]] == [first[1], first[3]]
    passed = [first[0], first[2]]
    for loop.update in (1, 2, 3, 4):
        batch = loop.next_prompts()
        passed += [batch[0], batch[2]]
    assert sorted(passed) == sorted(2 * PROMPTS)  # five updates of two prompts are two passes over five


def test_rloos_targets_by_hand(folders: tuple[Artifact, Artifact]) -> None:
    loop = make(folders, method="rloo", group=2, penalty=Penalty(kl_coefficient=0.5))
    old = torch.zeros(4, 3)
    reference = torch.tensor([[-1.0, -1.0, 9.0], [0.0, 9.0, 9.0], [0.0, 0.0, 0.0], [-2.0, 0.0, 9.0]])
    targets = loop.targets(BATCH, old, reference, torch.tensor([3.0, 1.0, 1.0, 4.0]))
    # with the penalty: 3 - 0.5 x 2 = 2, 1, 1, 4 - 0.5 x 2 = 3; each minus the other of its prompt
    assert targets.advantages.tolist() == [[1, 1, 0], [-1, 0, 0], [-2, -2, -2], [2, 2, 0]]
    assert targets.values is None
    assert targets.returns is None


def test_grpos_targets_have_no_penalty_and_unit_spread(folders: tuple[Artifact, Artifact]) -> None:
    loop = make(folders, method="grpo", group=2, penalty=Penalty(kl_coefficient=0.5))
    targets = loop.targets(BATCH, torch.zeros(4, 3), torch.full((4, 3), -7.0), torch.tensor([3.0, 1.0, 5.0, 5.0]))
    one = 1 / math.sqrt(2)  # 1 over the standard deviation (of a sample) of 3 and 1
    assert targets.advantages[0].tolist() == pytest.approx([one, one, 0.0], abs=1e-3)
    assert targets.advantages[1].tolist() == pytest.approx([-one, 0.0, 0.0], abs=1e-3)
    assert targets.advantages[2:].abs().max() == 0  # equal scores say nothing


def test_ppos_targets_with_a_value_of_0_are_discounted_sums(folders: tuple[Artifact, Artifact]) -> None:
    returns = Returns(gamma=0.5, lam=1.0, whiten=False)
    loop = make(folders, returns=returns, penalty=Penalty(kl_coefficient=0.0))
    with torch.no_grad():
        targets = loop.targets(BATCH, torch.zeros(4, 3), torch.zeros(4, 3), torch.tensor([8.0, 2.0, 4.0, 0.0]))
    expected = [[4, 8, 0], [2, 0, 0], [1, 2, 4], [0, 0, 0]]
    assert targets.advantages.tolist() == expected
    assert targets.returns is not None
    assert targets.returns.tolist() == expected


def test_whitened_advantages_have_mean_0_and_deviation_1(folders: tuple[Artifact, Artifact]) -> None:
    loop = make(folders)
    with torch.no_grad():
        targets = loop.targets(BATCH, torch.zeros(4, 3), torch.zeros(4, 3), torch.tensor([8.0, 2.0, 4.0, -1.0]))
    chosen = targets.advantages[BATCH.mask.bool()]
    assert float(chosen.mean()) == pytest.approx(0.0, abs=1e-5)
    assert float(chosen.std(unbiased=False)) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("method", ["ppo", "rloo", "grpo"])
def test_the_gradient_does_not_depend_on_the_microbatch(folders: tuple[Artifact, Artifact], method: str) -> None:
    grads = []
    for microbatch in (1, 3, 4):
        loop = make(folders, method=method, group=2, microbatch=microbatch)
        old = logprobs(loop)
        reference, advantages = old - 0.1, torch.tensor([[1.0], [-2.0], [0.5], [3.0]]).expand(4, 3)
        targets = Targets(old, reference, advantages, torch.zeros(4, 3), torch.ones(4, 3))
        row = loop.gradients(BATCH, targets, torch.arange(4))
        assert row["ratio_off"] < 1e-5
        assert row["clipped"] == 0
        if loop.value is not None:
            grads.append(torch.tensor(loop.value_gradients(BATCH, targets, torch.arange(4))))
            assert loop.value.score.weight.grad is not None
            grads.append(loop.value.score.weight.grad.flatten())
        grads.append(torch.cat([p.grad.flatten() for p in loop.policy.parameters() if p.grad is not None]))
    n = len(grads) // 3
    for part in range(n):
        for other in (1, 2):
            torch.testing.assert_close(grads[part], grads[part + other * n], atol=1e-6, rtol=1e-4)


def test_a_step_makes_good_replies_likelier_and_bad_ones_rarer(folders: tuple[Artifact, Artifact]) -> None:
    loop = make(folders, steps=Steps(lr=1e-2, warmup=0))
    old = logprobs(loop)
    sign = torch.tensor([1.0, -1.0, 1.0, -1.0])
    loop.optimise(BATCH, Targets(old, old, sign[:, None].expand(4, 3), torch.zeros(4, 3), torch.zeros(4, 3)))
    change = ((logprobs(loop) - old) * BATCH.mask).sum(dim=1)
    assert (change * sign > 0).all()


@pytest.mark.parametrize(("warmup", "share"), [(0, 1.0), (10, 0.19), (3, 0.4)])
def test_the_first_rate_of_a_warmup(folders: tuple[Artifact, Artifact], warmup: int, share: float) -> None:
    loop = make(folders, steps=Steps(lr=1e-3, value_lr=3e-3, warmup=warmup))
    old = logprobs(loop)
    loop.optimise(BATCH, Targets(old, old, torch.ones(4, 3), torch.zeros(4, 3), torch.ones(4, 3)))
    assert loop.value_optimizer is not None
    rates = [group["lr"] for optimizer in (loop.optimizer, loop.value_optimizer) for group in optimizer.param_groups]
    assert sorted(set(rates)) == pytest.approx([1e-3 * share, 3e-3 * share])


def test_steps_are_epochs_times_minibatches(folders: tuple[Artifact, Artifact]) -> None:
    loop = make(folders, epochs=3, minibatches=2)
    metrics = loop.step()
    assert metrics["optimizer_steps"] == loop.optimizer_steps == 6
    assert loop.update == 1


def test_the_score_is_the_functions_and_the_start_is_kl_0(folders: tuple[Artifact, Artifact]) -> None:
    lines: list[str] = []
    loop = make(folders, lines=lines)
    metrics = loop.step()
    assert metrics["score"] == pytest.approx(metrics["length"])
    assert metrics["kl"] == pytest.approx(0.0, abs=1e-4)
    assert metrics["ratio_off"] < 1e-3
    assert "score_outside" not in metrics
    assert any(line.startswith("PPO starts at KL 0") for line in lines)


def test_a_policy_that_is_not_its_reference_may_not_start(folders: tuple[Artifact, Artifact]) -> None:
    loop = make(folders)
    loop.models.frozen = make_decoder(tiny_config(), 77)
    with pytest.raises(AssertionError, match="KL to the SFT model is not 0 at the start"):
        loop.step()


def test_log_probabilities_of_another_engine_are_not_used(folders: tuple[Artifact, Artifact]) -> None:
    lines: list[str] = []
    loop = make(folders, lines=lines)
    exact = logprobs(loop)
    beyond = torch.where(BATCH.mask.bool(), exact, torch.tensor(5.0))  # what stands in the padding does not matter
    with torch.no_grad():
        assert loop.check_start(BATCH, exact)
        assert "the engine's are used" in lines[-1]
        assert not loop.check_start(BATCH, exact + 0.01)
        assert "the training graph's are used" in lines[-1]
        assert loop.check_start(BATCH, beyond)


def test_a_score_that_is_no_number_stops_the_update(folders: tuple[Artifact, Artifact]) -> None:
    loop = make(folders, score=lambda prompts, replies: torch.tensor([1.0, math.nan, 1.0, 1.0]))
    before = [p.detach().clone() for p in loop.policy.parameters()]
    with pytest.raises(UserError, match="1 of 4 scores are no numbers"):
        loop.step()
    assert moved(loop, before) == 0


def test_the_reward_models_range_is_watched_where_it_scores(folders: tuple[Artifact, Artifact]) -> None:
    loop = make(folders, reward=True, score=None, usual=(-1e9, 1e9))
    assert loop.step()["score_outside"] == 0
    far = make(folders, reward=True, score=None, usual=(1e8, 1e9))
    assert far.step()["score_outside"] == 1


def test_the_controller_moves_beta_after_the_update(folders: tuple[Artifact, Artifact]) -> None:
    loop = make(folders, penalty=Penalty(kl_coefficient=0.2, kl_target=4.0, kl_horizon=8))
    assert loop.step()["beta"] == 0.2
    # KL is 0: the error is -1, cut to -0.2, over 4 of 8 episodes
    assert loop.beta == pytest.approx(0.2 * (1 - 0.2 * 4 / 8))
    fixed = make(folders, penalty=Penalty(kl_coefficient=0.2))
    assert "beta" not in fixed.step()
    assert fixed.beta == 0.2


@pytest.mark.parametrize(("unit", "rows"), [("mean", 2), ("sum", 2), ("mean", 5)])
def test_the_losses_of_the_text_add_up_whatever_the_microbatch(
    folders: tuple[Artifact, Artifact], unit: str, rows: int
) -> None:
    text = Pretraining(ptx_coefficient=1.0, ptx_rows=rows, ptx_width=8, ptx_unit=unit)  # type: ignore[arg-type]
    loop = make(folders, mixture=text_rows(), pretraining=text, microbatch=2)
    data = text_rows().next(rows).tensors("cpu")
    with torch.no_grad():
        whole = float(rows_loss(loop.policy, data))
        parts = [float(loss) for loss in loop.pretraining_losses(data)]
    assert len(parts) == -(-rows // 2)
    assert sum(parts) == pytest.approx(whole / (float(data[-1].sum()) if unit == "mean" else rows), rel=1e-4)


def test_the_pretraining_gradient_is_balanced_once(folders: tuple[Artifact, Artifact]) -> None:
    lines: list[str] = []
    text = Pretraining(ptx_ratio=0.5, ptx_rows=3, ptx_width=8)
    loop = make(folders, mixture=text_rows(), pretraining=text, lines=lines)
    row = loop.pretraining_gradient(ppo_norm=8.0)
    assert gradient_norm(loop.policy.parameters()) == pytest.approx(4.0, rel=1e-3)  # nothing but the text's is there
    assert lines[-1].startswith("γ is ")
    gamma = loop.ptx
    loop.pretraining_gradient(ppo_norm=800.0)
    assert loop.ptx == gamma > 0
    assert row["ptx_loss"] > 0


def test_a_fixed_coefficient_is_taken_as_it_is(folders: tuple[Artifact, Artifact]) -> None:
    norms = []
    for coefficient in (1.0, 3.0):
        text = Pretraining(ptx_coefficient=coefficient, ptx_rows=3, ptx_width=8)
        loop = make(folders, mixture=text_rows(), pretraining=text)
        loop.pretraining_gradient(ppo_norm=1.0)
        norms.append(gradient_norm(loop.policy.parameters()))
    assert norms[1] == pytest.approx(3 * norms[0], rel=1e-4)


def test_going_on_from_a_saved_state_is_the_same_run(folders: tuple[Artifact, Artifact]) -> None:
    changes: dict[str, Any] = {
        "steps": Steps(lr=1e-2, warmup=2, ema=0.5),
        "penalty": Penalty(kl_target=2.0, kl_horizon=8),
        "pretraining": Pretraining(ptx_ratio=0.5, ptx_rows=2, ptx_width=8),
    }
    whole = make(folders, mixture=text_rows(), **changes)
    whole.step()
    saved = torch_copy(whole.state())
    later = make(folders, mixture=text_rows(), **changes)
    later.restore(saved)
    assert later.step() == whole.step()
    assert moved(later, [p.detach() for p in whole.policy.parameters()]) == 0


def torch_copy(value: Any) -> Any:
    """Copy a state as a file would, so that the run that goes on does not change it."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: torch_copy(item) for key, item in value.items()}
    return [torch_copy(item) for item in value] if isinstance(value, list) else value


def test_the_average_is_moved_after_every_step(folders: tuple[Artifact, Artifact], tmp_path: Path) -> None:
    loop = make(folders, steps=Steps(lr=1e-2, warmup=0, ema=0.5))
    start = [p.detach().clone() for p in loop.policy.parameters()]
    loop.step()
    assert loop.models.average is not None
    for a, old, new in zip(loop.models.average.parameters(), start, loop.policy.parameters(), strict=True):
        torch.testing.assert_close(a, (old + new.detach()) / 2, atol=1e-6, rtol=1e-5)
