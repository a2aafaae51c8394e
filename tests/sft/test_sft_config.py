"""The limits of SFT's configuration, each named with its value."""

import math

import pytest

from kaiwa.core.config import from_json, to_json
from kaiwa.core.errors import UserError
from kaiwa.sft.config import SFTConfig


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "sft.epochs is 0; it must be at least 1"),
        ({"rows": 0}, "sft.rows is 0"),
        ({"width": 0}, "sft.width is 0"),
        ({"evaluate_every": 0}, "sft.evaluate_every is 0"),
        ({"lr": 0.0}, "sft.lr is 0.0; it must be above 0"),
        ({"lr": math.nan}, "sft.lr is nan"),
        ({"validation_share": 1.0}, r"sft.validation_share is 1.0; it must be in \[0, 1\)"),
        ({"validation_share": -0.1}, "sft.validation_share is -0.1"),
        ({"dropout": 1.0}, r"sft.dropout is 1.0; it must be in \[0, 1\)"),
        ({"batch": -1}, "sft.batch is -1; it must be at least 0"),
        ({"pretrain_rows": -1}, "sft.pretrain_rows is -1"),
        ({"lora_rank": -1}, "sft.lora_rank is -1"),
        ({"soft_prompt": -1}, "sft.soft_prompt is -1"),
        ({"every_epoch": True, "lora_rank": 2}, "sft.every_epoch publishes whole models"),
        ({"every_epoch": True, "soft_prompt": 2}, "leave lora_rank and soft_prompt at 0"),
    ],
)
def test_a_limit_names_field_and_value(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_json(SFTConfig, changes)


def test_the_limits_themselves_are_possible() -> None:
    config = SFTConfig(epochs=1, rows=1, width=1, evaluate_every=1, validation_share=0.0, dropout=0.0, pretrain_rows=0)
    assert from_json(SFTConfig, to_json(config)) == config
