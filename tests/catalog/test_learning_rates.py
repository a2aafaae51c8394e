"""The rates that stages and the fine-tuning API take where none is given."""

import pytest

from kaiwa.catalog.entries import Entry
from kaiwa.catalog.learning_rates import MEDIUM, RATES, SMALL, learning_rate
from kaiwa.serve.tuning.job_plan import TuningRequest, make_plan


def test_rates_fall_with_size_and_are_higher_for_low_rank_changes() -> None:
    for name, rates in RATES.items():
        assert list(rates) == sorted(rates, reverse=True)
        if f"{name} lora" in RATES:
            assert all(low >= full for low, full in zip(RATES[f"{name} lora"], rates, strict=True))
    assert learning_rate("sft", SMALL) == 5e-4
    assert learning_rate("sft", 134_515_008) == 2e-5
    assert learning_rate("sft", 134_515_008, lora=True) == 2e-4
    assert learning_rate("sft", MEDIUM + 1) == 1e-5
    assert learning_rate("soft prompt", MEDIUM, lora=True) == 1e-2


@pytest.mark.parametrize("method", ["supervised", "dpo", "soft_prompt"])
def test_the_api_takes_the_same_table(method: str) -> None:
    request = TuningRequest(model="m", training_file="f", method={"type": method})  # type: ignore[arg-type]
    from pathlib import Path

    small = Entry(name="own", path=Path("x"), parameters=1_000_000, bits=32)
    large = Entry(name="big", path=Path("x.gguf"), kind="gguf", bits=4, parameters=134_515_008)
    named = {"supervised": "sft", "dpo": "dpo", "soft_prompt": "soft prompt"}[method]
    assert make_plan(request, small, 100).config["lr"] == learning_rate(named, 1_000_000)  # type: ignore[arg-type]
    assert make_plan(request, large, 100).config["lr"] == learning_rate(named, 134_515_008, lora=True)  # type: ignore[arg-type]
