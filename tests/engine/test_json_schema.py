"""Schemas before they become grammars: what is closed, what is left open, and what is left out."""

import json

import pytest

pytest.importorskip("llguidance")

from kaiwa.engine.grammar import GrammarState, GrammarVocabulary, NumberLength
from kaiwa.engine.json_schema import MAX_READ, closed, loosened, with_name_patterns
from kaiwa.text.sampling import Grammar

STRING = {"type": "string"}
BASE = {"type": "object", "properties": {"x": STRING}}
EXTENSION = {"type": "object", "properties": {"y": STRING}}


class Bytes:
    """A tokenizer of bytes."""

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode_bytes(self, ids: list[int]) -> bytes:
        return bytes(ids)

    def decode(self, ids: list[int]) -> str:
        return bytes(ids).decode()


VOCABULARY = GrammarVocabulary(Bytes(), 256)


def follow(schema: object, strict: bool = False) -> GrammarState:
    return VOCABULARY.follow(Grammar(kind="json_schema", source=json.dumps(schema), strict=strict))


def accepts(schema: object, text: str) -> bool:
    """Whether the grammar of a schema allows a text, byte by byte, and may then end."""
    state = follow(schema)
    for byte in text.encode():
        if not state.allowed_tokens()[0][byte]:
            return False
        state.push(byte)
    return state.complete or state.allowed_tokens()[1]


@pytest.mark.parametrize(
    ("schema", "text", "right"),
    [
        (BASE, '{"x": "a"}', True),
        (BASE, '{"x": "a", "z": 1}', False),
        (BASE | {"additionalProperties": True}, '{"x": "a", "z": 1}', True),
        (BASE | {"unevaluatedProperties": True}, '{"x": "a", "z": 1}', True),
        ({"type": "object"}, '{"z": 1}', True),
        ({"type": "object", "properties": {}}, '{"z": 1}', False),
        (BASE | {"required": ["w"]}, '{"x": "a", "w": [1]}', True),  # required and not described: any value
        ({"type": "array", "items": BASE}, '[{"z": 1}]', False),
        ({"allOf": [BASE, EXTENSION]}, '{"x": "a", "y": "b"}', True),
        ({"allOf": [BASE, EXTENSION]}, '{"x": "a", "z": 1}', False),
        ({"allOf": [BASE, EXTENSION | {"additionalProperties": True}]}, '{"x": "a", "z": 1}', True),
        (BASE | {"anyOf": [EXTENSION]}, '{"x": "a", "z": 1}', False),
        ({"allOf": [{"$ref": "#/$defs/B"}, EXTENSION], "$defs": {"B": BASE}}, '{"x": "a", "z": 1}', False),
        ({"$ref": "#/$defs/B", "properties": {"y": STRING}, "$defs": {"B": BASE}}, '{"x": "a", "y": "b"}', True),
        ({"allOf": [BASE]}, '{"z": 1}', False),  # pydantic 1 wraps a reference so
        ({"allOf": [{"$ref": "#/$defs/B"}, EXTENSION], "$defs": {"B": BASE}}, '{"x": "a", "y": "b"}', True),
        ({"$ref": "#/$defs/B", "$defs": {"B": BASE}}, '{"z": 1}', False),
        ({"anyOf": [BASE, EXTENSION]}, '{"z": 1}', False),
        (BASE | {"anyOf": [EXTENSION]}, '{"x": "a", "y": "b"}', True),
        (BASE | {"anyOf": [{"required": ["x"]}]}, '{"x": "a", "z": 1}', False),
        ({"type": "object", "properties": {"properties": BASE}}, '{"properties": {"z": 1}}', False),
    ],
)
def test_objects_are_closed_unless_another_part_adds_keys(schema: dict, text: str, right: bool) -> None:
    assert accepts(schema, text) is right
    assert closed(closed(schema)) == closed(schema)


@pytest.mark.parametrize(
    ("schema", "unenforced"),
    [
        ({"type": "array", "items": STRING, "uniqueItems": True}, ("uniqueItems",)),
        ({"type": "object", "if": {"required": ["a"]}, "then": {"required": ["b"]}}, ("if", "then")),
        ({"type": "object", "dependentRequired": {"a": ["b"]}}, ("dependentRequired",)),
        ({"type": "string", "not": {"const": "a"}}, ("not",)),
        ({"type": "array", "contains": {"type": "integer"}}, ("contains",)),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, ("oneOf",)),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, ()),  # cannot overlap
        ({"type": "string", "format": "zzz"}, ("format zzz",)),
        ({"type": "string", "format": "date-time"}, ()),
        ({"type": "string", "pattern": r"(a)\1"}, ("pattern",)),
        ({"type": "integer", "minimum": 5, "maximum": 1}, ("maximum",)),
        ({"$ref": "#"}, ("$ref",)),
        ({"items": {"$ref": "#/nowhere"}, "type": "array"}, ("$ref",)),
        ({"type": "array", "items": {"$ref": "#"}, "uniqueItems": True}, ("uniqueItems",)),
        ({"type": "object", "properties": [], "title": "X"}, ("properties",)),
    ],
)
def test_what_is_not_enforced_is_named(schema: dict, unenforced: tuple[str, ...]) -> None:
    state = follow(schema)
    assert state.unenforced == unenforced
    assert bool(state.allowed_tokens()[0].any())


def test_only_the_faulty_keyword_is_left_out() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/A"}, "n": {"type": "integer", "minimum": 3}},
        "required": ["a", "n"],
        "$defs": {"A": {"type": "string", "pattern": "(?=x)", "maxLength": 2}},
    }
    assert follow(schema).unenforced == ("pattern",)
    assert accepts(schema, '{"a": "xy", "n": 3}')
    assert not accepts(schema, '{"a": "xyz", "n": 3}')
    assert not accepts(schema, '{"a": "xy", "n": 2}')


def test_loosening_has_a_bound() -> None:
    read = 0

    def reads(part: dict) -> bool:
        nonlocal read
        read += len(json.dumps(part))
        return "pattern" not in json.dumps(part)

    options = [{"type": "string", "pattern": "x" * 50, "title": str(i)} for i in range(1000)]
    loosened({"anyOf": options}, reads)
    assert read <= 2 * MAX_READ


def test_white_space_is_bounded() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "null"}}}
    for right in ('{"a":1,"b":null}', '{\n\t"a": 1,\n\n    "b" : null\n}', '{ "a": 1 }'):
        assert accepts(schema, right), right
    for wrong in ('{\n\n\n"a": 1}', '{"a": 1,\n  \n\n"b": null}', '{   "a": 1}'):
        assert not accepts(schema, wrong), wrong


def test_numbers_end() -> None:
    for schema, text in (
        ({"type": "number"}, "1" * 40),
        ({"type": "number", "minimum": 0, "maximum": 1}, "0." + "1" * 40),
    ):
        assert not accepts(schema, text)
        assert accepts(schema, text[:30])
    assert accepts({"type": "string"}, '"' + "1" * 60 + '"'), "a string of digits is no number"
    assert accepts({"type": "number"}, "0." + "1" * 30 + "e+5"), "where only a digit may follow it does"


def test_the_length_of_a_number() -> None:
    for words, length in (
        ([b"12"], 2),
        ([b'{"a', b'1": ', b"-1.5", b"e+3"], 7),
        ([b"12,", b" 3"], 1),
        ([b'"12', b"34"], 0),
        ([b'"a\\', b'"12', b"3"], 0),
        ([b'"a\\\\', b'"', b"123"], 3),
    ):
        number = NumberLength()
        for word in words:
            number.push(word)
        assert number.length == length, words


@pytest.mark.parametrize(
    ("names", "good", "bad"),
    [
        ({"type": "string"}, ['{"any name": 1}'], ['{"a": "x"}']),  # zod's record
        (True, ['{"a": 1}'], []),
        ({"enum": ["a.b", "c"]}, ['{"a.b": 1, "c": 2}'], ['{"axb": 1}', '{"d": 1}']),
        ({"const": "a"}, ['{"a": 1}'], ['{"b": 1}']),
        ({"$ref": "#/$defs/K"}, ['{"k(1)": 1}'], ['{"k1": 1}']),
        (
            {"type": "string", "minLength": 2, "maxLength": 3},
            ['{"ab": 1}', '{"日本語": 1}'],
            ['{"a": 1}', '{"abcd": 1}'],
        ),
        ({"pattern": "^x_"}, ['{"x_1": 1}'], ['{"y": 1}']),
    ],
)
def test_names_of_keys_are_enforced(names: object, good: list[str], bad: list[str]) -> None:
    """With strict too, since nothing is lost: Vercel's `ai` sends zod's records with strict."""
    schema = {"type": "object", "propertyNames": names, "additionalProperties": {"type": "integer"}}
    schema["$defs"] = {"K": {"type": "string", "enum": ["k(1)"]}}
    assert follow(schema, strict=True).unenforced == ()
    assert [accepts(schema, text) for text in good + bad] == [True] * len(good) + [False] * len(bad)


def test_a_record_of_listed_names_that_are_required() -> None:
    """As zod writes a record with an enum for its keys."""
    names = {"type": "string", "enum": ["a", "b"]}
    schema = {"type": "object", "propertyNames": names, "additionalProperties": {"const": 1}, "required": ["a", "b"]}
    assert accepts(schema, '{"a": 1, "b": 1}')
    assert not accepts(schema, '{"a": 1}')


def test_names_beside_properties() -> None:
    names = {"propertyNames": {"pattern": "^[xz]$"}}
    open_schema = BASE | names | {"additionalProperties": {"type": "integer"}}
    assert accepts(open_schema, '{"x": "a", "z": 1}')
    assert follow(open_schema).unenforced == ("propertyNames",), "a pattern's schema would hold for x too"
    assert follow(BASE | names, strict=True).unenforced == ()
    assert not accepts(BASE | {"propertyNames": {"pattern": "^[xz]$"}}, '{"x": "a", "z": 1}'), "closed"
    for kept in ({"not": {}}, {"minLength": 1, "pattern": "a"}, {"type": "integer"}):
        assert with_name_patterns({"propertyNames": kept}) == {"propertyNames": kept}
