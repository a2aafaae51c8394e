"""The models of reinforcement learning: what is copied, what is shared, what is frozen, what a checkpoint holds."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kaiwa.core.artifact import Artifact
from kaiwa.core.context import Context
from kaiwa.core.errors import UserError
from kaiwa.model.attention import attend_rows
from kaiwa.model.lora import LoraLinear
from kaiwa.rlhf.config import RLHFConfig, Steps
from kaiwa.rlhf.models import Models, open_models
from tests.tiny_models import policy_folder, reward_folder, tiny_tokenizer

IDS = torch.tensor([[5, 9, 20, 7]])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, Artifact]:
    root = tmp_path_factory.mktemp("models")
    return policy_folder(root / "policy"), reward_folder(root / "reward")


def opened(folders: tuple[Artifact, Artifact], config: RLHFConfig, *, reward: bool = True) -> Models:
    return open_models(config, Context(seed=3), folders[0], folders[1] if reward else None)


@torch.no_grad()
def output(model: nn.Module) -> Tensor:
    return model(IDS, torch.arange(4)[None], attend_rows(None))


@torch.no_grad()
def shake(model: nn.Module) -> None:
    """Move every trained weight, as training would."""
    for p in model.parameters():
        if p.requires_grad:
            p.add_(0.3)


def trained(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_the_reference_does_not_move_with_the_policy(folders: tuple[Artifact, Artifact]) -> None:
    models = opened(folders, RLHFConfig())
    before = output(models.policy)
    with models.reference() as reference:
        assert torch.equal(output(reference), before)
        assert trained(reference) == 0
    shake(models.policy)
    with models.reference() as reference:
        assert torch.equal(output(reference), before)
    assert not torch.allclose(output(models.policy), before)


def test_with_a_low_rank_change_the_reference_is_the_policy_without_it(folders: tuple[Artifact, Artifact]) -> None:
    models = opened(folders, RLHFConfig(lora_rank=2))
    before = output(models.policy)
    assert models.frozen is None
    shake(models.policy)
    after = output(models.policy)
    with models.reference() as reference:
        assert reference is models.policy
        assert torch.allclose(output(reference), before)
    assert torch.equal(output(models.policy), after)  # the change is back
    assert not torch.allclose(after, before)


def test_the_value_model_starts_as_the_reward_model_and_leaves_it_alone(folders: tuple[Artifact, Artifact]) -> None:
    models = opened(folders, RLHFConfig())
    assert models.value is not None
    with models.judge() as judge:
        before = output(judge)
        assert torch.equal(output(models.value), before)
        assert trained(judge) == 0
    shake(models.value)
    with models.judge() as judge:
        assert torch.equal(output(judge), before)


def test_without_a_reward_model_the_value_starts_at_0_everywhere(folders: tuple[Artifact, Artifact]) -> None:
    models = opened(folders, RLHFConfig(), reward=False)
    assert models.reward is None
    assert models.value is not None
    assert output(models.value).abs().max() == 0
    assert trained(models.value) == sum(p.numel() for p in models.value.parameters())


def test_a_shared_trunk_is_one_object_and_the_judge_is_unchanged_by_the_value(
    folders: tuple[Artifact, Artifact],
) -> None:
    models = opened(folders, RLHFConfig(shared_trunk=True, lora_rank=2))
    assert models.value is not None
    assert models.reward is not None
    assert models.value.decoder is models.reward.decoder
    assert models.value.score is not models.reward.score
    with models.judge() as judge:
        before = output(judge)
    assert torch.allclose(output(models.value), before)
    shake(models.value)
    with models.judge() as judge:
        assert torch.allclose(output(judge), before)
    assert not torch.allclose(output(models.value), before)


def test_a_shared_trunk_without_a_change_trains_the_head_alone(folders: tuple[Artifact, Artifact]) -> None:
    models = opened(folders, RLHFConfig(shared_trunk=True))
    assert models.value is not None
    assert trained(models.value) == models.value.score.weight.numel() == 16


def test_methods_without_a_value_model_load_none(folders: tuple[Artifact, Artifact]) -> None:
    assert opened(folders, RLHFConfig(method="grpo", group=2)).value is None


def test_the_average_follows_by_its_decay_and_is_what_is_published(folders: tuple[Artifact, Artifact]) -> None:
    models = opened(folders, RLHFConfig(steps=Steps(ema=0.75)))
    assert models.average is not None
    start = [p.clone() for p in models.policy.parameters()]
    for decay in (0.75, 0.75):
        shake(models.policy)
        models.follow(decay)
    # 0.25 x 0.3, then three quarters of that and 0.25 x 0.6
    expected = 0.75 * (0.25 * 0.3) + 0.25 * 0.6
    for old, mean in zip(start, models.average.parameters(), strict=True):
        torch.testing.assert_close(mean, old + expected, atol=1e-5, rtol=1e-5)
        assert not mean.requires_grad
    assert models.published.decoder is models.average
    assert models.published.tokenizer is models.trained.tokenizer


def test_without_an_average_the_policy_is_published(folders: tuple[Artifact, Artifact]) -> None:
    models = opened(folders, RLHFConfig())
    models.follow(0.9)  # nothing to move
    assert models.published is models.trained
    assert models.state()["average"] == {}


@pytest.mark.parametrize("rank", [0, 2])
def test_a_checkpoint_brings_back_what_was_trained(folders: tuple[Artifact, Artifact], rank: int) -> None:
    config = RLHFConfig(lora_rank=rank, steps=Steps(ema=0.5))
    first, second = opened(folders, config), opened(folders, config)
    shake(first.policy)
    shake(first.value)  # type: ignore[arg-type]
    first.follow(0.5)
    saved = {part: {n: t.clone() for n, t in state.items()} for part, state in first.state().items()}
    second.restore(saved)
    for a, b in ((first.policy, second.policy), (first.value, second.value), (first.average, second.average)):
        assert a is not None
        assert b is not None
        assert torch.equal(output(a), output(b))
    if rank:  # only the change is in the checkpoint
        n = sum(isinstance(layer, LoraLinear) for layer in first.policy.modules())
        assert len(saved["policy"]) == len(saved["average"]) == 2 * n


def test_another_tokenizer_is_refused(folders: tuple[Artifact, Artifact], tmp_path: Path) -> None:
    stranger = reward_folder(tmp_path / "stranger", tokenizer=tiny_tokenizer(265))
    with pytest.raises(UserError, match=r"stranger: other tokens than .*policy's \(265 against 270\)"):
        open_models(RLHFConfig(), Context(), folders[0], stranger)
