"""The record of sampling: its checks name their fields, JSON gives it back, and clients send what was set."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.core.errors import UserError
from kaiwa.text.providers import sampling_fields
from kaiwa.text.sampling import Grammar, Sampling

WHOLE = Sampling(
    max_tokens=7, temperature=0.5, top_p=0.9, seed=3, stop=("\n",), top_k=5, min_p=0.1, repetition_penalty=1.2,
    presence_penalty=0.5, frequency_penalty=-0.5, logit_bias=((7, 2.0),), grammar=Grammar(kind="regex", source="a+"),
)  # fmt: skip
WRONG = {
    "max_tokens": -1, "temperature": -0.1, "top_p": 0.0, "top_k": -1, "min_p": 1.5, "repetition_penalty": 0.0,
    "presence_penalty": 3.0, "frequency_penalty": -2.5, "logit_bias": ((1, 101.0),), "stop": ("",),
}  # fmt: skip


@pytest.mark.parametrize("field", WRONG)
def test_an_error_names_its_field(field: str) -> None:
    with pytest.raises(UserError) as error:
        Sampling(**{field: WRONG[field]})  # type: ignore[arg-type]
    assert error.value.field == field


def test_json_gives_it_back() -> None:
    assert Sampling.from_json(WHOLE.to_json() | {"messages": []}) == WHOLE
    assert Sampling.from_json(Sampling().to_json()) == Sampling()
    assert set(Sampling().to_json()) == {"max_tokens", "temperature", "top_p", "seed", "stop"}


def test_clients_send_what_was_set_and_no_more() -> None:
    assert sampling_fields(Sampling(max_tokens=9)) == {"max_tokens": 9, "temperature": 1.0, "top_p": 1.0, "seed": 0}
    sent = sampling_fields(WHOLE)
    assert sent["logit_bias"] == {"7": 2.0}
    assert sent["response_format"] == {"type": "grammar", "syntax": "regex", "definition": "a+"}
    assert (sent["top_k"], sent["min_p"], sent["repetition_penalty"]) == (5, 0.1, 1.2)
    schema = sampling_fields(Sampling(grammar=Grammar(kind="json_schema", source='{"type": "object"}')))
    assert schema["response_format"]["json_schema"]["schema"] == {"type": "object"}


LIMITS = {
    "max_tokens": (0, 10**6), "temperature": (0.0, 100.0), "top_p": (1e-9, 1.0), "top_k": (0, 10**6),
    "min_p": (0.0, 1.0), "repetition_penalty": (1e-9, 10.0), "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
}  # fmt: skip


@pytest.mark.parametrize("field", LIMITS)
def test_the_limits_themselves_are_possible(field: str) -> None:
    for value in LIMITS[field]:
        assert getattr(Sampling(**{field: value}), field) == value  # type: ignore[arg-type]


@pytest.mark.parametrize("field", [f for f in LIMITS if f not in ("max_tokens", "top_k")])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_refused(field: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{field} is (nan|inf); it must be"):
        Sampling(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("bias", [100.5, -100.5, math.nan, math.inf])
def test_a_bias_has_limits_and_names_its_token(bias: float) -> None:
    with pytest.raises(UserError, match=r"logit_bias of token 7 is .*; it must be from -100 to 100"):
        Sampling(logit_bias=((3, 100.0), (7, bias)))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False), ({"temperature": 0.0, "top_k": 5, "top_p": 0.5, "min_p": 0.5, "stop": ("x",)}, False),
        ({"repetition_penalty": 1.1}, True), ({"presence_penalty": -0.5}, True), ({"frequency_penalty": 0.5}, True),
        ({"logit_bias": ((1, 0.0),)}, True), ({"grammar": Grammar(kind="json_object")}, True),
    ],
)  # fmt: skip
def test_what_changes_the_logits_before_the_temperature(changes: dict[str, object], expected: bool) -> None:
    assert Sampling(**changes).changes_logits is expected  # type: ignore[arg-type]


def test_only_what_was_changed_is_written() -> None:
    assert Sampling(top_k=5, seed=3).changed_fields() == {"top_k": 5}
    assert Sampling().changed_fields() == {}


def test_a_grammar_has_a_kind_and_a_text() -> None:
    with pytest.raises(UserError, match="must be one of json_schema, json_object, regex, lark") as error:
        Grammar(kind="gbnf", source="x")  # type: ignore[arg-type]
    assert error.value.field == "grammar"
    with pytest.raises(UserError, match="the regex grammar is empty; give its text"):
        Grammar(kind="regex")
    assert Grammar(kind="json_object").source == ""


@given(
    st.builds(
        Sampling, max_tokens=st.integers(0, 99), temperature=st.floats(0, 100), top_p=st.floats(0.01, 1),
        seed=st.integers(), stop=st.lists(st.text(min_size=1)).map(tuple), top_k=st.integers(0, 9),
        min_p=st.floats(0, 1), presence_penalty=st.floats(-2, 2),
        logit_bias=st.lists(st.tuples(st.integers(0, 9), st.floats(-100, 100))).map(tuple),
        grammar=st.none() | st.builds(Grammar, kind=st.just("regex"), source=st.text(min_size=1)),
    )
)  # fmt: skip
def test_any_sampling_survives_json(sampling: Sampling) -> None:
    assert Sampling.from_json(json.loads(json.dumps(sampling.to_json()))) == sampling
