"""Configuration: round trips, overrides, and what a typo is told."""

import json
from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.core.config import GROUP, did_you_mean, differences, from_json, override, to_json
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    beta: float = 0.5
    kind: Literal["a", "b"] = "a"

    def __post_init__(self) -> None:
        if self.beta < 0:
            raise UserError(f"beta is {self.beta}; it must be at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouped:
    steps: int = 3
    group: Group = field(default_factory=Group, metadata=GROUP)
    inner: Inner = field(default_factory=Inner)
    list: tuple[Inner, ...] = ()
    limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    grouped: Grouped = field(default_factory=Grouped)


@given(
    st.integers(), st.floats(0, 9), st.sampled_from(["a", "b"]), st.lists(st.floats(0, 1), max_size=3),
    st.none() | st.floats(allow_nan=False),
)  # fmt: skip
def test_a_group_is_flat_in_json_and_comes_back(
    steps: int, beta: float, kind: Literal["a", "b"], rates: list[float], limit: float | None
) -> None:
    value = Grouped(
        steps=steps, group=Group(beta=beta, kind=kind), list=tuple(Inner(lr=lr) for lr in rates), limit=limit
    )
    plain = to_json(value)
    assert "group" not in plain
    assert (plain["beta"], plain["kind"]) == (beta, kind)
    assert isinstance(plain["inner"], dict)  # what is no group stays a level of its own
    assert from_json(Grouped, json.loads(json.dumps(plain))) == value
    assert from_json(Whole, to_json(Whole(grouped=value))).grouped == value


def test_a_missing_field_has_its_default() -> None:
    assert from_json(Grouped, {"kind": "b"}) == Grouped(group=Group(kind="b"))
    assert from_json(Grouped, {}) == Grouped()


def test_overrides_reach_groups_and_levels_below() -> None:
    changed = override(Whole(), {"grouped.beta": "2", "grouped.inner.lr": "3", "grouped.limit": "4.5"})
    assert changed.grouped == Grouped(group=Group(beta=2.0), inner=Inner(lr=3.0), limit=4.5)
    assert override(changed, {"grouped.limit": "none"}).grouped.limit is None
    assert override(changed, {}) == changed
    replaced = override(Grouped(), {"inner": {"lr": 7}})
    assert replaced.inner == Inner(lr=7.0)


def test_an_empty_list_on_a_command_line_is_empty() -> None:
    start = Outer(inner=Inner(names=("a",)))
    assert override(start, {"inner.names": ""}).inner.names == ()
    assert override(start, {"inner.names": "b"}).inner.names == ("b",)
    assert override(start, {"inner.names": ("c", "d")}).inner.names == ("c", "d")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grouped.betta": 1}, "grouped has no field 'betta'; did you mean 'beta'"),
        ({"grouped.group": 1}, "grouped has no field 'group'"),
        ({"grouped.beta": "much"}, "grouped.beta: 'much' is not a number"),
        ({"grouped.kind": "c"}, "grouped.kind: 'c' is not possible"),
        ({"grouped.beta.x": 1}, "beta has no fields of its own; drop '.x'"),
        ({"grouped.beta": -1}, "beta is -1.0; it must be at least 0"),
        ({"grouped": "3"}, "grouped: '3' is no value for a group of fields; set them, as grouped.steps"),
        ({"grouped.inner": 3}, "grouped.inner: 3 is no value for a group of fields; set them, as grouped.inner.lr"),
        ({"grouped.inner.names": 3}, "grouped.inner.names: 3 is not a list"),
        ({"grouped.steps": [3]}, r"grouped.steps: \[3\] is not a whole number"),
        ({"grouped.inner.lr": None}, "grouped.inner.lr: None is not a number"),
    ],
)
def test_what_a_mistake_below_is_told(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        override(Whole(), changes)


@given(st.dictionaries(st.sampled_from("abc"), st.integers(0, 2) | st.lists(st.integers(0, 1), max_size=2)))
def test_there_is_a_difference_exactly_where_there_is_one(value: dict[str, object]) -> None:
    assert differences(value, value) == []
    changed = value | {"a": "other"}
    assert [line.split(":")[0] for line in differences(value, changed)] == ["a"]
    assert differences({"x": value}, {"x": value | {"a": "other"}})[0].startswith("x.a: ")
