"""Configuration: frozen dataclasses to JSON and back, overrides by dotted name, "did you mean" for a typo."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from kaiwa.core.errors import UserError

T = TypeVar("T")
# Metadata of a field that holds a nested dataclass. JSON, overrides and options list the nested fields with the others.
GROUP: Mapping[str, bool] = {"group": True}


def _groups(cls: Any) -> dict[str, Any]:
    """Return the group fields of a dataclass as field name -> dataclass of the group."""
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.metadata.get("group")}


def _field_names(cls: Any) -> dict[str, str]:
    """Return every field name of JSON and overrides -> the name of the field's group, "" for no group."""
    groups = _groups(cls)
    names = {f.name: "" for f in dataclasses.fields(cls) if f.name not in groups}
    return names | {f.name: group for group, inner in groups.items() for f in dataclasses.fields(inner)}


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean X?" for the nearest known name, or else the list of all known names."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; there is {', '.join(known)}"


def to_json(config: Any) -> dict[str, Any]:
    """Return a dataclass as plain JSON values: tuples become lists, the fields of a group join the outer fields."""
    values: dict[str, Any] = {}
    for f in dataclasses.fields(config):
        value = _plain(getattr(config, f.name))
        values |= value if f.metadata.get("group") else {f.name: value}
    return values


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_json(value)
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return value


def from_json(cls: type[T], values: Mapping[str, Any]) -> T:
    """Return the dataclass for JSON values as `to_json` returns. UserError for an unknown field."""
    hints, groups, known = typing.get_type_hints(cls), _groups(cls), _field_names(cls)
    direct: dict[str, Any] = {}
    grouped: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        if name not in known:
            raise UserError(f"{cls.__name__} has no field {name!r}{did_you_mean(name, known)}")
        if known[name]:
            grouped.setdefault(known[name], {})[name] = value
        else:
            direct[name] = _typed(hints[name], value, f"{cls.__name__}.{name}")
    return cls(**direct, **{group: from_json(groups[group], inner) for group, inner in grouped.items()})


def override(config: T, changes: Mapping[str, Any], prefix: str = "") -> T:
    """Return a copy with fields replaced.

    changes: field name (also dotted, "model.n_layer") -> value, or a string from a command line. prefix: text before a
    field's name in error messages.
    """
    hints, known = typing.get_type_hints(type(config)), _field_names(type(config))
    direct: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {}
    for key, value in changes.items():
        head, _, rest = key.partition(".")
        if head not in known:
            raise UserError(f"{prefix[:-1] or type(config).__name__} has no field {head!r}{did_you_mean(head, known)}")
        if known[head]:
            nested.setdefault(known[head], {})[key] = value
        elif rest:
            if not dataclasses.is_dataclass(getattr(config, head)):
                raise UserError(f"{type(config).__name__}.{head} has no fields of its own; drop {'.' + rest!r}")
            nested.setdefault(head, {})[rest] = value
        else:
            direct[head] = _typed(hints[head], value, prefix + key)
    for head, inner in nested.items():
        inside = prefix if head not in known else f"{prefix}{head}."
        direct[head] = override(getattr(config, head), inner, inside)
    return dataclasses.replace(config, **direct)  # type: ignore[type-var]


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return 'field: old -> new' for each field in which two JSON configurations differ; long values are shortened."""
    lines: list[str] = []
    for key in sorted({*old, *new}):
        lines += _difference(old.get(key), new.get(key), f"{prefix}{key}")
    return lines


def _difference(a: Any, b: Any, where: str) -> list[str]:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return differences(a, b, f"{where}.")
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [line for i, (x, y) in enumerate(zip(a, b, strict=True)) for line in _difference(x, y, f"{where}.{i}")]
    return [f"{where}: {_short(a)} -> {_short(b)}"] if a != b else []


def _short(value: Any, most: int = 40) -> str:
    """Return a value as text for a message, at most `most` characters; the first eight characters of a hash."""
    text = repr(value)
    if isinstance(value, str) and len(value) == 64 and not value.strip("0123456789abcdef"):
        return value[:8]
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _typed(hint: Any, value: Any, where: str) -> Any:
    """Convert `value` (from JSON or a command line) to the type `hint`. UserError with field, value and type."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        if type(None) in options and value in (None, "none", "None"):
            return None
        return _typed(next(o for o in options if o is not type(None)), value, where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, hint):
            return value
        if not isinstance(value, Mapping):
            first = next(iter(_field_names(hint)))
            raise UserError(f"{where}: {value!r} is no value for a group of fields; set them, as {where}.{first}")
        return from_json(hint, value)
    if origin is tuple:
        inner = typing.get_args(hint)[0]
        parts = (value.split(",") if value else []) if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise UserError(f"{where}: {value!r} is not a list")
        return tuple(_typed(inner, part, where) for part in parts)
    if origin is typing.Literal:
        allowed = typing.get_args(hint)
        if value not in allowed:
            raise UserError(f"{where}: {value!r} is not possible{did_you_mean(str(value), map(str, allowed))}")
        return value
    return _scalar(hint, value, where)


def _scalar(hint: Any, value: Any, where: str) -> Any:
    try:
        if hint is bool:
            if isinstance(value, str):
                return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[value.lower()]
            return bool(value)
        if hint is int:
            if isinstance(value, str):  # "1e3" is a whole number too
                value = int(value) if value.strip().lstrip("+-").isdigit() else float(value)
            if value != int(value):
                raise ValueError
            return int(value)
        if hint is float:
            return float(value)
        if hint is str:
            return str(value)
    except (ValueError, KeyError, TypeError, OverflowError):
        what = {bool: "true or false", int: "a whole number", float: "a number"}.get(hint, hint.__name__)
        raise UserError(f"{where}: {value!r} is not {what}") from None
    return value
