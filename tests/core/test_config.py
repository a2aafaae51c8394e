"""Configuration: round trips, overrides, and what a typo is told."""

from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.core.config import did_you_mean, differences, from_json, override, to_json
from kaiwa.core.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    lr: float = 0.1
    names: tuple[str, ...] = ()
    mode: Literal["fast", "slow"] = "fast"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    steps: int = 3
    on: bool = True
    note: str | None = None
    inner: Inner = field(default_factory=Inner)


@given(st.integers(), st.booleans(), st.text(), st.floats(allow_nan=False), st.lists(st.text()))
def test_round_trip(steps: int, on: bool, note: str, lr: float, names: list[str]) -> None:
    value = Outer(steps=steps, on=on, note=note, inner=Inner(lr=lr, names=tuple(names)))
    if note not in ("none", "None"):
        assert from_json(Outer, to_json(value)) == value


def test_overrides_take_command_line_strings() -> None:
    changed = override(Outer(), {"steps": "7", "on": "false", "inner.lr": "1e-3", "inner.names": "a,b"})
    assert changed == Outer(steps=7, on=False, inner=Inner(lr=1e-3, names=("a", "b")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stepps": "1"}, "Outer has no field 'stepps'; did you mean 'steps'"),
        ({"inner.lrr": "1"}, "inner has no field 'lrr'; did you mean 'lr'"),
        ({"steps": "many"}, "steps: 'many' is not a whole number"),
        ({"steps": "1.5"}, "steps: .* is not a whole number"),
        ({"steps": "inf"}, "steps: .* is not a whole number"),
        ({"on": "perhaps"}, "on: 'perhaps' is not true or false"),
        ({"inner.mode": "fats"}, "'fats' is not possible; did you mean 'fast'"),
        ({"steps.x": "1"}, "steps has no fields of its own"),
    ],
)
def test_what_a_mistake_is_told(changes: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        override(Outer(), changes)


def test_unknown_json_fields_are_errors() -> None:
    with pytest.raises(UserError, match="no field 'extra'"):
        from_json(Outer, {"extra": 1})


def test_did_you_mean_lists_what_there_is_when_nothing_is_near() -> None:
    assert did_you_mean("zzz", ["tiny", "laptop"]) == "; there is laptop, tiny"


def test_differences_name_nested_fields() -> None:
    a, b = to_json(Outer()), to_json(Outer(inner=Inner(lr=0.2)))
    assert differences(a, b) == ["inner.lr: 0.1 -> 0.2"]


def test_differences_of_lists_and_long_values_are_short() -> None:
    old = {"sources": [{"path": "a", "weight": 1}, {"path": "b", "weight": 2}], "hash": "0" * 64, "note": "x" * 500}
    new = {"sources": [{"path": "a", "weight": 1}, {"path": "c", "weight": 2}], "hash": "f" * 64, "note": ""}
    found = differences(old, new)
    assert found[0] == "hash: 00000000 -> ffffffff"
    assert found[2] == "sources.1.path: 'b' -> 'c'"
    assert max(map(len, found)) < 80
