"""JSON Schemas as pydantic, zod, LangChain, instructor and OpenAPI write them: answered, and kept to.

Without `strict` a keyword that the server cannot enforce must not fail the request.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from kaiwa.doctor.server import ServerCheck, ServerUnderTest, expect

Schema = dict[str, Any]
WORD = {"enum": ["red", "blue"]}
DIGIT = {"type": "integer", "minimum": 0, "maximum": 9}
LIMIT = 300  # tokens
POINT = {"type": "object", "properties": {"x": DIGIT}, "required": ["x"]}


def _form(schema: Schema, strict: bool | None) -> dict[str, Any]:
    described = {"name": "answer", "schema": schema} | ({} if strict is None else {"strict": strict})
    return {"type": "json_schema", "json_schema": described}


def _check_enforced(
    label: str, schema: Schema, holds: Callable[[Any], bool], strict: bool | None = None
) -> ServerCheck:
    """Return a check that the answer is JSON for which `holds` is true."""

    def run(server: ServerUnderTest) -> None:
        choice = server.chat(response_format=_form(schema, strict), max_tokens=LIMIT)["choices"][0]
        text = choice["message"]["content"]
        expect(choice["finish_reason"] == "stop", f"finish_reason {choice['finish_reason']} of {text[:40]!r}")
        expect(holds(json.loads(text)), f"{text[:60]!r}")

    return ServerCheck(label, run, must=False)


def _check_answered(label: str, schema: Schema) -> ServerCheck:
    """Return a check that a request without `strict` is answered, whatever is enforced of its schema."""

    def run(server: ServerUnderTest) -> None:
        choice = server.chat(response_format=_form(schema, None), max_tokens=LIMIT)["choices"][0]
        if choice["finish_reason"] == "stop":
            json.loads(choice["message"]["content"])

    return ServerCheck(label, run, must=False)


def _object(**properties: object) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def check_streamed_schema(server: ServerUnderTest) -> None:
    answer = server.chat_stream(response_format=_form(_object(colour=WORD), True), max_tokens=LIMIT)
    expect(json.loads(answer.text())["colour"] in WORD["enum"], f"{answer.text()[:60]!r}")


def check_says_what_is_not_enforced(server: ServerUnderTest) -> None:
    schema = {"type": "array", "items": WORD, "uniqueItems": True, "maxItems": 2}
    body = {"model": server.model, "messages": [{"role": "user", "content": "Colours?"}], "max_tokens": LIMIT}
    response = server.post("/v1/chat/completions", body | {"response_format": _form(schema, None)})
    expect(response.status_code == 200, f"status {response.status_code}")
    value = json.loads(response.json()["choices"][0]["message"]["content"])
    is_named = any("uniqueItems" in header for header in response.headers.values())
    expect(is_named or len(set(value)) == len(value), "a header does not name uniqueItems, and it is not kept to")


def check_n_answers_of_a_schema(server: ServerUnderTest) -> None:
    answer = server.chat(response_format=_form(_object(n=DIGIT), True), n=2, temperature=1, max_tokens=LIMIT)
    expect(all(0 <= json.loads(c["message"]["content"])["n"] <= 9 for c in answer["choices"]), "an answer breaks it")


def check_schema_of_completions(server: ServerUnderTest) -> None:
    answer = server.complete(response_format=_form(_object(colour=WORD), True), max_tokens=LIMIT)
    expect(json.loads(answer["choices"][0]["text"])["colour"] in WORD["enum"], "the answer breaks it")


def _is_one(value: Any) -> bool:
    return value["s"] is None or 0 <= value["s"] <= 9


def _has_point(value: Any) -> bool:
    return bool(set(value["p"]) == {"x"})


GROUP = "schemas"
CHECKS = (
    _check_enforced("an object with properties has no other keys", _object(a={"const": 1}), lambda v: v == {"a": 1}),
    _check_enforced("the same with strict", _object(a={"const": 1}), lambda v: v == {"a": 1}, True),
    _check_enforced("enum", {"enum": ["red", 7]}, lambda v: v in ("red", 7)),
    _check_enforced("const", _object(kind={"const": "cat"}), lambda v: v["kind"] == "cat"),
    _check_enforced("bounds of an integer", _object(n=DIGIT), lambda v: 0 <= v["n"] <= 9),
    _check_enforced("maxLength", _object(s={"type": "string", "maxLength": 5}), lambda v: len(v["s"]) <= 5),
    _check_enforced(
        "pattern", _object(s={"type": "string", "pattern": "^[a-c]{2}$"}), lambda v: set(v["s"]) <= set("abc")
    ),
    _check_enforced("format date", _object(d={"type": "string", "format": "date"}), lambda v: len(v["d"]) == 10),
    _check_enforced(
        "minItems and maxItems", {"type": "array", "items": WORD, "minItems": 2, "maxItems": 2}, lambda v: len(v) == 2
    ),
    _check_enforced(
        "prefixItems (a tuple)",
        {"type": "array", "prefixItems": [WORD, DIGIT], "items": False, "minItems": 2},
        lambda v: v[0] in WORD["enum"] and 0 <= v[1] <= 9,
    ),
    _check_enforced(
        "a type with null (Optional)", _object(s={"type": ["integer", "null"], "maximum": 9, "minimum": 0}), _is_one
    ),
    _check_enforced(
        "anyOf",
        _object(v={"anyOf": [WORD, DIGIT]}),
        lambda v: v["v"] in WORD["enum"] or 0 <= v["v"] <= 9,
    ),
    _check_enforced(
        "$defs and $ref (pydantic)", _object(p={"$ref": "#/$defs/P"}) | {"$defs": {"P": POINT}}, _has_point
    ),
    _check_enforced(
        "definitions (pydantic 1)", _object(p={"$ref": "#/definitions/P"}) | {"definitions": {"P": POINT}}, _has_point
    ),
    _check_enforced(
        "allOf around a reference", _object(p={"allOf": [{"$ref": "#/$defs/P"}]}) | {"$defs": {"P": POINT}}, _has_point
    ),
    _check_enforced(
        "allOf of two objects (inheritance in OpenAPI)",
        {"allOf": [POINT, _object(y=DIGIT)]},
        lambda v: set(v) == {"x", "y"},
    ),
    _check_enforced("nested objects", _object(p=_object(q=POINT)), lambda v: 0 <= v["p"]["q"]["x"] <= 9),
    _check_enforced(
        "a list of objects", {"type": "array", "items": POINT, "minItems": 1, "maxItems": 1}, lambda v: "x" in v[0]
    ),
    _check_enforced(
        "title, description, default, examples change nothing",
        _object(n=DIGIT | {"title": "N", "description": "a digit", "default": 1, "examples": [2]}),
        lambda v: 0 <= v["n"] <= 9,
    ),
    _check_enforced("an escape in a key", _object(**{'a"b\\': DIGIT}), lambda v: list(v) == ['a"b\\']),
    _check_enforced("Japanese keys and values", _object(**{"色": {"enum": ["青"]}}), lambda v: v == {"色": "青"}),
    ServerCheck("a schema in a stream", check_streamed_schema, must=False),
    ServerCheck("n = 2 with a schema", check_n_answers_of_a_schema, must=False),
    ServerCheck("a schema in /v1/completions", check_schema_of_completions, must=False),
    ServerCheck("a header names what is not enforced", check_says_what_is_not_enforced, must=False),
    _check_answered(
        "taken without strict: uniqueItems (set)", {"type": "array", "items": WORD, "uniqueItems": True, "maxItems": 2}
    ),
    _check_answered(
        "taken: propertyNames (zod's record)", {"type": "object", "propertyNames": WORD, "maxProperties": 0}
    ),
    _check_answered("taken: not", {"enum": ["red", "blue"], "not": {"const": "red"}}),
    _check_answered("taken: if and then", _object(n=DIGIT) | {"if": {"required": ["n"]}, "then": {"required": ["n"]}}),
    _check_answered("taken: contains", {"type": "array", "items": DIGIT, "maxItems": 2, "contains": DIGIT}),
    _check_answered("taken: dependentRequired", _object(n=DIGIT) | {"dependentRequired": {"n": ["m"]}}),
    _check_answered("taken: overlapping oneOf", {"oneOf": [{"const": 1}, {"enum": [1, 2]}]}),
    _check_answered("taken: an unknown format", {"type": "string", "format": "uri-reference", "maxLength": 4}),
    _check_answered("taken: look-around in pattern", {"type": "string", "pattern": "^(?=.*[A-Z]).*$", "maxLength": 4}),
    _check_answered("taken: unevaluatedProperties", _object(n=DIGIT) | {"unevaluatedProperties": False}),
    _check_answered(
        "taken: a schema that names its dialect",
        _object(n=DIGIT) | {"$schema": "http://json-schema.org/draft-07/schema#"},
    ),
)
