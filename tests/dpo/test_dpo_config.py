"""The limits of DPO's configuration, each named with its value."""

import math

import pytest

from kaiwa.core.config import from_json
from kaiwa.core.errors import UserError
from kaiwa.dpo.config import DPOConfig


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "dpo.epochs is 0; it must be at least 1"),
        ({"prompts": 0}, "dpo.prompts is 0"),
        ({"width": 0}, "dpo.width is 0"),
        ({"evaluate_every": 0}, "dpo.evaluate_every is 0"),
        ({"beta": -0.1}, r"dpo.beta is -0.1; it must be above 0 \(0.1 is usual\)"),
        ({"beta": math.nan}, "dpo.beta is nan"),
        ({"lr": 0}, "dpo.lr is 0.0; it must be above 0"),
        ({"validation_share": 1}, r"dpo.validation_share is 1.0; it must be in \[0, 1\)"),
        ({"lora_rank": -1}, "dpo.lora_rank is -1; it must be at least 0"),
    ],
)
def test_a_limit_names_field_and_value(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_json(DPOConfig, changes)
