"""InstructGPT's sizes and presets. The numbers of its stages stand in tests/contract/test_rlhf.py."""

import pytest

from kaiwa.core.config import from_json, to_json
from kaiwa.core.errors import UserError
from kaiwa.recipes.instructgpt import NUMBERS, instructgpt, preset
from kaiwa.reward.config import RewardConfig
from kaiwa.rlhf.config import RLHFConfig
from kaiwa.sft.config import SFTConfig


@pytest.mark.parametrize(
    ("size", "weights", "sft_lr", "batch"),
    [("1.3b", 1.3e9, 9.65e-6, 32), ("6b", 6.7e9, 9.65e-6, 32), ("175b", 175e9, 5.03e-6, 8)],
)
def test_the_sizes(size: str, weights: float, sft_lr: float, batch: int) -> None:
    p = instructgpt(size)
    assert p.policy.n_parameters == pytest.approx(weights, rel=0.03)
    assert p.judge.n_parameters == pytest.approx(6.7e9, rel=0.03)  # whatever the policy's size
    assert p.sft.lr == sft_lr
    assert p.sft.batch == p.ppo_init.batch == batch
    assert p.sft.pretrain_rows == 0
    # a tenth of what the start of RL sees is pretraining text
    rows = p.ppo_init.pretrain_rows
    assert rows / (rows + batch) == pytest.approx(0.1, abs=0.015)
    assert p.rlhf.max_tokens < p.policy.max_length == 2048


@pytest.mark.parametrize("size", NUMBERS)
def test_a_preset_is_the_commands_configuration(size: str) -> None:
    whole = instructgpt(size)
    for stage, cls in (("sft", SFTConfig), ("reward", RewardConfig), ("rlhf", RLHFConfig)):
        config = preset(f"instructgpt-{size}", stage)
        assert config == getattr(whole, stage)
        assert from_json(cls, to_json(config)) == config  # type: ignore[type-var]
    assert preset(f"instructgpt-{size}-ppo-init", "sft") == whole.ppo_init


@pytest.mark.parametrize(
    ("name", "stage", "message"),
    [
        ("instructgpt-2b", "rlhf", "no preset 'instructgpt-2b' of rlhf; did you mean 'instructgpt-6b'"),
        ("instructgpt-6b-ppo-init", "rlhf", "no preset 'instructgpt-6b-ppo-init' of rlhf"),
        ("instructgpt-6b", "dpo", "no preset 'instructgpt-6b' of dpo"),
        ("", "sft", "no preset '' of sft"),
    ],
)
def test_an_unknown_preset_is_told(name: str, stage: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        preset(name, stage)


def test_an_unknown_size_is_told() -> None:
    with pytest.raises(UserError, match="no InstructGPT of size '175'; did you mean '175b'"):
        instructgpt("175")
