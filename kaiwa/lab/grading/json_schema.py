"""JSON Schema (draft 2020-12, by the `jsonschema` library) for the grader "json".

Two departures from the library: a pattern has a time limit (safe_regex.py), and a keyword that the standard does not
know is a mistake of the schema's author (UserError). The standard ignores such keywords: a misspelt "requierd" would
accept every answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator, SchemaError, ValidationError
from jsonschema.validators import extend

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.lab.grading.safe_regex import search_safely

ONE_SCHEMA = ("items", "additionalProperties", "contains", "propertyNames", "not", "if", "then", "else")
SCHEMA_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
SCHEMA_TABLES = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
ANNOTATIONS = (
    *("title", "description", "default", "examples", "format", "deprecated", "readOnly", "writeOnly"),
    *("$schema", "$id", "$anchor", "$comment", "$defs", "definitions", "contentEncoding", "contentMediaType"),
    *("then", "else", "minContains", "maxContains"),  # read by the library within "if" and "contains"
)
KEYWORDS = {*Draft202012Validator.VALIDATORS, *ANNOTATIONS}


def schema_error(value: Any, schema: Mapping[str, Any]) -> str:
    """Return "" if `value` fits the schema, else the first place that does not, as "$.n: 0 is less than …".

    UserError for a value that is not a JSON Schema, for an unknown keyword, and for a pattern that takes too long.
    """
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise UserError(f"schema: {error.message} at {error.json_path}") from None
    _check_keywords(schema, "$")
    first = next(VALIDATOR(schema).iter_errors(value), None)
    return "" if first is None else f"{first.json_path}: {first.message}"


def _check_keywords(schema: Any, where: str) -> None:
    if not isinstance(schema, Mapping):
        return
    for name in schema:
        if name not in KEYWORDS:
            raise UserError(f"schema: keyword {name!r} at {where} is unknown{did_you_mean(name, sorted(KEYWORDS))}")
    for name in ONE_SCHEMA:
        _check_keywords(schema.get(name), f"{where}.{name}")
    for name in SCHEMA_LISTS:
        for i, inner in enumerate(schema.get(name, ())):
            _check_keywords(inner, f"{where}.{name}[{i}]")
    for name in SCHEMA_TABLES:
        for key, inner in schema.get(name, {}).items():
            _check_keywords(inner, f"{where}.{name}.{key}")


def _pattern(validator: Any, pattern: str, value: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    if isinstance(value, str) and not search_safely(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], value: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if not isinstance(value, dict):
        return
    for pattern, inner in patterns.items():
        for name, content in value.items():
            if search_safely(pattern, name):
                yield from validator.descend(content, inner, path=name, schema_path=pattern)


VALIDATOR = extend(Draft202012Validator, {"pattern": _pattern, "patternProperties": _pattern_properties})
