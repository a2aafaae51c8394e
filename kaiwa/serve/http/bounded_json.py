"""JSON of any shape, checked for size and depth before use: whole bodies, and schemas inside requests."""

from __future__ import annotations

import json
from typing import TypeVar

MAX_DEPTH = 32
MAX_BYTES = 1 << 16
MAX_BODY_DEPTH = 64
JSONObject = dict[str, object]  # a JSON object whose fields are not known here
T = TypeVar("T")


def whole_text(body: T) -> T:
    """Return a request's body unchanged. ValueError if nested too deep or if a string is not valid Unicode text.

    JSON's escapes can spell half a character (a lone surrogate), which no tokenizer takes and no answer can repeat.
    """
    todo: list[tuple[str, object, int]] = [("", body, 0)]
    while todo:
        path, value, depth = todo.pop()
        if depth > MAX_BODY_DEPTH:
            raise ValueError(f"the body is nested more than {MAX_BODY_DEPTH} deep")
        if isinstance(value, str) and not _encodes(value):
            raise ValueError(f"{path}: the text holds half a character (a lone surrogate)")
        if isinstance(value, dict):
            if not all(_encodes(key) for key in value):
                raise ValueError(f"{path or 'the body'}: a field's name holds half a character (a lone surrogate)")
            todo += [(f"{path}.{key}" if path else key, inner, depth + 1) for key, inner in value.items()]
        elif isinstance(value, list) and value and not isinstance(value[0], int):  # not long lists of token ids
            todo += [(f"{path}[{i}]", inner, depth + 1) for i, inner in enumerate(value)]
    return body


def _encodes(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def plain_json(value: T) -> T:
    """Return a JSON value unchanged. ValueError unless small, shallow, finite and referring only to itself."""
    if value is None:
        return value
    _check_depth(value, MAX_DEPTH)
    size = len(json.dumps(value, allow_nan=False))
    if size > MAX_BYTES:
        raise ValueError(f"it has {size:,} bytes of JSON; at most {MAX_BYTES:,} are read")
    return value


def _check_depth(value: object, levels_left: int) -> None:
    """Raise ValueError for too many levels, or for a $ref to anything outside the value."""
    if levels_left == 0:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    if isinstance(value, dict):
        reference = value.get("$ref")
        if isinstance(reference, str) and not reference.startswith("#"):
            raise ValueError(f"$ref {reference[:60]!r} points outside; only references into the schema (#/…) are read")
        for inner in value.values():
            _check_depth(inner, levels_left - 1)
    elif isinstance(value, list):
        for inner in value:
            _check_depth(inner, levels_left - 1)
