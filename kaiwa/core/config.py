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


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """'; did you mean X?' or the list of what there is."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; there is {', '.join(known)}"


def to_json(config: Any) -> dict[str, Any]:
    """A dataclass as plain JSON values (tuples become lists)."""
    return {f.name: _plain(getattr(config, f.name)) for f in dataclasses.fields(config)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_json(value)
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return value


def from_json(cls: type[T], values: Mapping[str, Any]) -> T:
    """The dataclass from what to_json wrote. Unknown fields are a UserError."""
    hints = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise UserError(f"{cls.__name__} has no field {name!r}{did_you_mean(name, known)}")
    return cls(**{name: _typed(hints[name], value, f"{cls.__name__}.{name}") for name, value in values.items()})


def override(config: T, changes: Mapping[str, Any], prefix: str = "") -> T:
    """A copy with fields replaced. Keys may be dotted ("model.n_layer"); values may be strings from a command line.

    `prefix`: what a message puts before a field's name.
    """
    hints = typing.get_type_hints(type(config))
    known = {f.name for f in dataclasses.fields(config)}  # type: ignore[arg-type]
    direct: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {}
    for key, value in changes.items():
        head, _, rest = key.partition(".")
        if head not in known:
            raise UserError(f"{prefix[:-1] or type(config).__name__} has no field {head!r}{did_you_mean(head, known)}")
        if rest:
            if not dataclasses.is_dataclass(getattr(config, head)):
                raise UserError(f"{type(config).__name__}.{head} has no fields of its own; drop {'.' + rest!r}")
            nested.setdefault(head, {})[rest] = value
        else:
            direct[head] = _typed(hints[head], value, prefix + key)
    for head, inner in nested.items():
        direct[head] = override(getattr(config, head), inner, f"{prefix}{head}.")
    return dataclasses.replace(config, **direct)  # type: ignore[type-var]


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """'field: old -> new' for each field in which two JSON configurations differ; long values are cut."""
    found: list[str] = []
    for key in sorted({*old, *new}):
        found += _difference(old.get(key), new.get(key), f"{prefix}{key}")
    return found


def _difference(a: Any, b: Any, where: str) -> list[str]:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return differences(a, b, f"{where}.")
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [line for i, (x, y) in enumerate(zip(a, b, strict=True)) for line in _difference(x, y, f"{where}.{i}")]
    return [f"{where}: {_short(a)} -> {_short(b)}"] if a != b else []


def _short(value: Any, most: int = 40) -> str:
    """A value in a message. Of a hash its beginning says enough."""
    text = repr(value)
    if isinstance(value, str) and len(value) == 64 and not value.strip("0123456789abcdef"):
        return value[:8]
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _typed(hint: Any, value: Any, where: str) -> Any:
    """`value` (from JSON or a command line) as the annotated type; a UserError names field, value and type."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        if type(None) in options and value in (None, "none", "None"):
            return None
        return _typed(next(o for o in options if o is not type(None)), value, where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return value if isinstance(value, hint) else from_json(hint, value)
    if origin is tuple:
        inner = typing.get_args(hint)[0]
        parts = value.split(",") if isinstance(value, str) else value
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
