"""JSON Schema: the keywords that it must know, and schemas that are wrong."""

import threading
import time

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.grading import safe_regex
from kaiwa.lab.grading.json_schema import schema_error
from kaiwa.lab.grading.safe_regex import search_safely

SLOW = r"(a+)+$", "a" * 40 + "b"


@pytest.mark.parametrize(
    ("schema", "good", "bad", "place"),
    [
        ({"type": "integer"}, 3, 3.5, "$"),
        ({"type": "integer"}, 3, True, "$"),
        ({"type": ["string", "null"]}, None, 3, "$"),
        ({"enum": ["a", 1]}, "a", "b", "$"),
        ({"const": {"x": 1}}, {"x": 1}, {"x": 2}, "$"),
        ({"minimum": 1, "exclusiveMaximum": 5}, 1, 5, "$"),
        ({"pattern": "^a+$"}, "aa", "ab", "$"),
        ({"minLength": 2}, "ab", "a", "$"),
        ({"items": {"type": "string"}, "minItems": 1}, ["a"], ["a", 1], "$[1]"),
        ({"uniqueItems": True}, [1, 2], [1, 1], "$"),
        ({"required": ["a"]}, {"a": 1}, {"b": 1}, "$"),
        ({"properties": {"a": {"properties": {"b": {"type": "string"}}}}}, {"a": {"b": "x"}}, {"a": {"b": 1}}, "$.a.b"),
        ({"properties": {"a": True}, "additionalProperties": False}, {"a": 1}, {"b": 1}, "$"),
        ({"patternProperties": {"^n_": {"type": "integer"}}}, {"n_a": 1, "b": "x"}, {"n_a": "x"}, "$.n_a"),
        ({"anyOf": [{"type": "string"}, {"minimum": 3}]}, 4, 2, "$"),
        ({"not": {"type": "string"}}, 1, "a", "$"),
        ({"$defs": {"x": {"type": "string"}}, "items": {"$ref": "#/$defs/x"}}, ["a"], [1], "$[0]"),
    ],
)
def test_keywords(schema: dict[str, object], good: object, bad: object, place: str) -> None:
    assert schema_error(good, schema) == ""
    assert schema_error(bad, schema).startswith(f"{place}: ")


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"typ": "string"}, "keyword 'typ' at $ is unknown; did you mean 'type'"),
        (
            {"properties": {"a": {"requierd": ["b"]}}},
            "'requierd' at $.properties.a is unknown; did you mean 'required'",
        ),
        ({"items": {"max": 3}}, "'max' at $.items is unknown"),
        ({"anyOf": [{}, {"enm": [1]}]}, "'enm' at $.anyOf[1] is unknown"),
        ({"type": "text"}, "schema: 'text' is not valid under any of the given schemas at $.type"),
        ({"minItems": "3"}, "at $.minItems"),
    ],
)
def test_mistakes_of_the_schema(schema: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as error:
        schema_error({}, schema)
    assert message in str(error.value)


def test_annotations_are_known_and_change_nothing() -> None:
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "t", "description": "d", "default": 1}
    assert schema_error("anything", schema | {"examples": [1], "format": "email", "$comment": "c"}) == ""


def test_a_property_may_be_called_like_anything() -> None:
    assert schema_error({"typ": "x"}, {"properties": {"typ": {"type": "string"}}}) == ""


def test_a_pattern_that_explodes_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_regex, "REGEX_SECONDS", 0.2)
    began = time.monotonic()
    for schema, value in (
        ({"pattern": SLOW[0]}, SLOW[1]),
        ({"patternProperties": {SLOW[0]: {"type": "string"}}}, {SLOW[1]: "x"}),
    ):
        with pytest.raises(UserError, match="make it simpler"):
            schema_error(value, schema)
    assert time.monotonic() - began < 3


def test_off_the_main_thread_the_limit_holds_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_regex, "REGEX_SECONDS", 1.0)
    found: list[object] = []

    def work() -> None:
        for pattern, text in (("b+", "abc"), ("x", "abc"), SLOW):
            try:
                found.append(search_safely(pattern, text))
            except UserError as error:
                found.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert found[:2] == [True, False]
    assert "took more than 1 s" in str(found[2])


def test_the_timer_is_put_back() -> None:
    import signal

    before = signal.getsignal(signal.SIGALRM)
    assert search_safely("b", "abc")
    assert not search_safely("x", "abc")
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    with pytest.raises(UserError, match="regex"):
        search_safely("[", "abc")
