"""The groups of RLHF's configuration: flat in JSON and in overrides, typed, and refused by name."""

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.core.config import differences, from_json, override, to_json
from kaiwa.core.errors import UserError
from kaiwa.rlhf.best_of_config import BestOfConfig
from kaiwa.rlhf.config import Corrections, Penalty, Pretraining, Returns, RLHFConfig, Steps
from kaiwa.text.data import DataOptions

GROUPS = {
    "penalty": Penalty,
    "returns": Returns,
    "steps": Steps,
    "pretraining": Pretraining,
    "data": DataOptions,
    "corrections": Corrections,
}


def test_json_is_flat_and_has_every_field_of_every_group_once() -> None:
    value = to_json(RLHFConfig())
    outer = {f.name for f in dataclasses.fields(RLHFConfig)} - set(GROUPS)
    inner = [f.name for group in GROUPS.values() for f in dataclasses.fields(group)]
    assert len(inner) == len(set(inner))  # two groups with one name would overwrite each other
    assert not outer & set(inner)
    assert set(value) == outer | set(inner)
    assert not any(isinstance(field, dict) for field in value.values())
    assert json.loads(json.dumps(value)) == value


@given(
    kl=st.floats(1e-3, 10), lam=st.floats(0, 1), lr=st.floats(1e-8, 1), rows=st.integers(1, 99),
    group=st.integers(2, 8),
    rule=st.sampled_from(["worse", "replace", "subtract", "keep"]), whiten=st.booleans(),
)  # fmt: skip
def test_a_round_trip_keeps_all_groups(
    kl: float, lam: float, lr: float, rows: int, group: int, rule: str, whiten: bool
) -> None:
    config = RLHFConfig(
        method="rloo",
        group=group,
        batch=group * 4,
        penalty=Penalty(kl_coefficient=kl, kl_target=2.0),
        returns=Returns(lam=lam, end_rule=rule, whiten=whiten),  # type: ignore[arg-type]
        steps=Steps(lr=lr),
        pretraining=Pretraining(ptx_rows=rows),
    )
    assert from_json(RLHFConfig, json.loads(json.dumps(to_json(config)))) == config


def test_an_override_reaches_into_a_group_by_the_fields_own_name() -> None:
    changed = override(RLHFConfig(), {"kl_coefficient": "0.5", "ptx_rows": "7", "whiten": "no", "updates": "1e2"})
    assert changed.penalty == Penalty(kl_coefficient=0.5)
    assert changed.pretraining == Pretraining(ptx_rows=7)
    assert changed.returns == Returns(whiten=False)
    assert changed.updates == 100
    assert changed.steps == Steps()


def test_an_override_keeps_the_groups_other_fields() -> None:
    start = RLHFConfig(penalty=Penalty(kl_coefficient=0.3, kl_estimator="k3"))
    assert override(start, {"kl_target": 4}).penalty == Penalty(kl_coefficient=0.3, kl_estimator="k3", kl_target=4.0)


def test_a_changed_group_field_is_named_without_its_group() -> None:
    old, new = to_json(RLHFConfig()), to_json(RLHFConfig(steps=Steps(ema=0.9)))
    assert differences(old, new) == ["ema: 0.0 -> 0.9"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kl_coeficient": 1}, "no field 'kl_coeficient'; did you mean 'kl_coefficient'"),
        ({"penalty": {}}, "no field 'penalty'"),
        ({"kl_estimator": "k4"}, "'k4' is not possible; did you mean 'k[123]'"),
        ({"end_rule": "wors"}, "did you mean 'worse'"),
        ({"ptx_unit": "median"}, "'median' is not possible"),
        ({"kl_horizon": "long"}, "'long' is not a whole number"),
        ({"ema": "high"}, "'high' is not a number"),
    ],
)
def test_a_wrong_name_or_value_is_told_as_json_and_as_override(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_json(RLHFConfig, changes)
    with pytest.raises(UserError, match=message):
        override(RLHFConfig(), changes)


LIMITS = [
    ({"updates": 0}, "rlhf.updates is 0; it must be at least 1"),
    ({"evaluate_every": 0}, "rlhf.evaluate_every is 0"),
    ({"lora_rank": -1}, "rlhf.lora_rank is -1; it must be at least 0"),
    ({"temperature": 0.0}, "rlhf.temperature is 0.0; rollouts need a temperature above 0"),
    ({"temperature": math.nan}, "rlhf.temperature is nan"),
    ({"kl_horizon": 0}, "rlhf.kl_horizon is 0; it must be at least 1"),
    ({"kl_coefficient": math.nan}, "rlhf.kl_coefficient is nan; it must be at least 0"),
    ({"gamma": 1.01}, r"rlhf.gamma 1.01 and lam 0.95 must be in \[0, 1\]"),
    ({"lam": -0.1}, r"rlhf.gamma 1.0 and lam -0.1"),
    ({"value_lr": 0.0}, "rlhf.value_lr is 0.0; it must be above 0"),
    ({"adam_eps": 0.0}, "rlhf.adam_eps is 0.0"),
    ({"ema": 1.0}, r"rlhf.ema is 1.0; it must be in \[0, 1\)"),
    ({"ptx_ratio": -0.1}, "rlhf.ptx_ratio is -0.1; it must be at least 0"),
    ({"ptx_rows": 0}, "rlhf.ptx_rows is 0; it must be at least 1"),
    ({"ptx_width": 0}, "rlhf.ptx_width is 0; it must be at least 1"),
    ({"clip": 0.0}, "rlhf.clip is 0.0; it must be above 0"),
    ({"method": "grpo", "group": 1}, r"rlhf.group is 1; grpo compares 2 or more responses a prompt \(4 to 8\)"),
]


@pytest.mark.parametrize(("changes", "message"), LIMITS)
def test_a_limit_names_field_value_and_fix(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_json(RLHFConfig, changes)


def test_what_has_pretraining_and_what_has_a_value_model() -> None:
    assert not RLHFConfig().has_pretraining
    assert RLHFConfig(pretraining=Pretraining(ptx_ratio=0.5)).has_pretraining
    assert RLHFConfig(pretraining=Pretraining(ptx_coefficient=27.8)).has_pretraining
    assert RLHFConfig().has_value
    assert not RLHFConfig(method="rloo", group=4).has_value
    assert not RLHFConfig(method="grpo", group=4).has_value


@pytest.mark.parametrize("name", ["n", "max_tokens", "block", "microbatch"])
def test_best_of_counts_from_one(name: str) -> None:
    with pytest.raises(UserError, match=f"best_of.{name} is 0; it must be at least 1"):
        from_json(BestOfConfig, {name: 0})
    assert getattr(from_json(BestOfConfig, {name: 1}), name) == 1
