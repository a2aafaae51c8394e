"""JSON schemas before they become grammars: objects closed, and parts that no grammar reads left out on request.

`closed`: JSON Schema leaves an object open unless `additionalProperties` is false, and a small model then invents keys
until max_tokens. Nearly every client means the listed properties and no other, so an object with `properties` is
closed, unless the schema says otherwise. Of a combination (allOf, $ref with siblings, properties beside anyOf) the
whole is closed to the keys of all its parts, since closing a part would forbid the others' keys.

`with_name_patterns`: `propertyNames` (zod's records) says in another way what `properties` or `patternProperties` say.

`loosened`: a schema without the keywords that a reader refuses, and the names of these keywords. Works bottom-up: of a
subschema that cannot be read, each keyword is tried in turn, and stays if the rest can still be read.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

Schema = dict[str, Any]
NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")  # a schema for each name
LISTED = ("allOf", "anyOf", "oneOf", "prefixItems")
SINGLE = (
    *("items", "additionalProperties", "unevaluatedProperties", "unevaluatedItems", "additionalItems", "contains"),
    *("propertyNames", "not", "if", "then", "else"),
)
CONDITIONS = ("if", "then", "else", "dependentSchemas")
ANNOTATIONS = {"title", "description", "$comment", "examples", "default", "type"}
MAX_PARTS = 8  # levels of allOf, anyOf, oneOf and $ref that are followed for an object's keys
MAX_READ = 200_000  # characters of schema that `loosened` has read; beyond, what is unknown is left out unread


def closed(schema: Schema) -> Schema:
    """Return the schema with its objects closed, wherever no other part of the schema adds properties to them."""
    combined: set[str] = set()  # references to schemas that are a part of a combination
    while True:
        known = set(combined)
        result = _close(schema, "#", False, combined, schema)
        if combined == known:
            return result


def _close(schema: Schema, path: str, in_combination: bool, combined: set[str], root: Schema) -> Schema:
    """Return a subschema closed. in_combination: other schemas hold for the same value. Adds to `combined`."""
    in_combination = in_combination or path in combined
    listed = {key: schema[key] for key in ("allOf", "anyOf", "oneOf") if isinstance(schema.get(key), list)}
    has_siblings = "properties" in schema or "$ref" in schema or len(listed) > 1 or len(listed.get("allOf", ())) > 1
    are_parts = in_combination or has_siblings  # the schemas of allOf, anyOf and oneOf
    if "$ref" in schema and (in_combination or listed or "properties" in schema):
        combined.add(str(schema["$ref"]))
    result = dict(schema)
    for key, value in schema.items():
        if key in NAMED and isinstance(value, dict):
            result[key] = {
                name: _close(inner, f"{path}/{key}/{name}", key == "dependentSchemas", combined, root)
                if isinstance(inner, dict)
                else inner
                for name, inner in value.items()
            }
        elif key in LISTED and isinstance(value, list):
            shared = key != "prefixItems" and are_parts
            result[key] = [
                _close(inner, f"{path}/{key}/{i}", shared, combined, root) if isinstance(inner, dict) else inner
                for i, inner in enumerate(value)
            ]
        elif key in SINGLE and isinstance(value, dict):
            shared = key in ("not", "if", "then", "else", "contains", "propertyNames")
            result[key] = _close(value, f"{path}/{key}", shared, combined, root)
    is_whole = "properties" in schema or len(listed.get("allOf", ())) > 1  # and not a reference to the whole
    keys = _keys(schema, root) if is_whole and not in_combination else None
    if keys or (keys is not None and "properties" in schema):
        properties = dict(result.get("properties") or {})
        if "patternProperties" not in schema:
            keys |= {name for name in schema.get("required") or () if isinstance(name, str)}
        properties |= {name: {} for name in sorted(keys) if name not in properties}
        result |= {"properties": properties, "additionalProperties": False}
        result.pop("unevaluatedProperties", None)  # says the same
    return result


def _keys(schema: Schema, root: Schema, depth: int = MAX_PARTS) -> set[str] | None:
    """Return the keys that a schema and its parts describe; None where others are allowed, or it cannot be told."""
    properties = schema.get("properties", {})
    if depth == 0 or not isinstance(properties, dict) or "additionalProperties" in schema:
        return None
    if schema.get("unevaluatedProperties", False) is not False or any(key in schema for key in CONDITIONS):
        return None
    parts = [part for key in ("allOf", "anyOf", "oneOf") for part in schema.get(key) or ()]
    if "$ref" in schema:
        parts.append(_part(str(schema["$ref"]), root))
    keys = set(properties)
    for part in parts:
        if not isinstance(part, dict) or "patternProperties" in part:
            return None
        inner = _keys(part, root, depth - 1)
        if inner is None:
            return None
        keys |= inner
    return keys


def with_name_patterns(schema: Schema) -> Schema:
    """Return the schema with `propertyNames` as `properties` or `patternProperties`, wherever those say the same."""

    def change(part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        result = {key: _map_parts(key, value, change) for key, value in part.items()}
        if "propertyNames" not in part:
            return result
        names, pattern = _names(part["propertyNames"], schema)
        others = result.get("additionalProperties", {})
        is_loose = pattern == "" or others is False  # no name is ruled out that is not ruled out already
        if pattern is None or not (is_loose or {"properties", "patternProperties"}.isdisjoint(part)):
            return result  # a pattern's schema would hold for the listed properties too
        del result["propertyNames"]
        if not is_loose:
            rule = {"properties": dict.fromkeys(names, others)} if names else {"patternProperties": {pattern: others}}
            result |= rule | {"additionalProperties": False}
        return result

    changed: Schema = change(schema)
    return changed


def _names(names: object, root: Schema) -> tuple[list[str], str | None]:
    """Return the names that a `propertyNames` lists, and its pattern: "" for any name, None where none says it."""
    if isinstance(names, dict) and isinstance(names.get("$ref"), str):
        names = _part(names["$ref"], root)
    if names is True:
        return [], ""
    if not isinstance(names, dict) or names.get("type", "string") != "string":
        return [], None
    rules = {key: value for key, value in names.items() if key not in ANNOTATIONS}
    listed = rules.get("enum", [rules["const"]] if "const" in rules else None)
    if isinstance(listed, list) and len(rules) == 1:
        words = [name for name in listed if isinstance(name, str)]
        return words, "|".join(words) or None
    if set(rules) <= {"minLength", "maxLength"}:
        low, high = rules.get("minLength", 0), rules.get("maxLength", "")
        return [], f"^[\\s\\S]{{{low},{high}}}$" if rules else ""
    pattern = rules.get("pattern") if len(rules) == 1 else None
    return [], pattern if isinstance(pattern, str) else None


def loosened(schema: Schema, reads: Callable[[Schema], bool]) -> tuple[Schema, list[str]]:
    """Return the schema without the keywords that `reads` refuses, and the names of these keywords."""
    budget = MAX_READ
    dropped: list[str] = []

    def can_read(part: Schema) -> bool:
        nonlocal budget
        alone = _without_references(part, schema)
        budget -= len(json.dumps(alone))
        return budget >= 0 and reads(alone)

    def loosen(part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        inner = {key: _map_parts(key, value, loosen) for key, value in part.items()}
        if can_read(inner):
            return inner
        readable: Schema = {}
        for key, value in inner.items():
            if can_read(readable | {key: value}):
                readable[key] = value
            else:
                dropped.append(key)
        return readable

    looser = loosen(schema)
    if not reads(looser):  # such as references in a circle
        return {}, [*schema]
    return looser, list(dict.fromkeys(dropped))


def _without_references(part: Any, root: Schema) -> Any:
    """Return a subschema without its references to existing parts of the whole schema."""
    if isinstance(part, list):
        return [_without_references(inner, root) for inner in part]
    if not isinstance(part, dict):
        return part
    return {
        key: _without_references(value, root)
        for key, value in part.items()
        if not (key == "$ref" and isinstance(value, str) and _part(value, root) is not None)
    }


def _part(reference: str, root: Any) -> Any:
    """Return the part of the schema that a reference (#/name/…, #name or #) names, None if there is none.

    Of #name the whole schema is returned: anchors are left to the reader.
    """
    for name in reference.split("/")[1:]:
        name = unquote(name).replace("~1", "/").replace("~0", "~")
        if isinstance(root, list) and name.isdecimal() and int(name) < len(root):
            root = root[int(name)]
        elif isinstance(root, dict) and name in root:
            root = root[name]
        else:
            return None
    return root


def _map_parts(key: str, value: Any, change: Callable[[Any], Any]) -> Any:
    """Return the value of a keyword with `change` applied to every subschema in it."""
    if key in NAMED and isinstance(value, dict):
        return {name: change(part) for name, part in value.items()}
    if key in LISTED and isinstance(value, list):
        return [change(part) for part in value]
    return change(value) if key in SINGLE and isinstance(value, dict) else value
