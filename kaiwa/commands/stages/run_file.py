"""The options of a stage's command as a TOML file, read by `--config FILE` and written into the artifact."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from kaiwa.core.config import to_json
from kaiwa.core.errors import UserError


def words_with_file(words: Sequence[str]) -> list[str]:
    """Return a command's words with those of the `--config` file in front, so that the command line's own win.

    UserError for a file that is missing or no TOML, and for a value that no option takes.
    """
    rest = list(words)
    at = next((i for i, word in enumerate(rest) if word.partition("=")[0] == "--config"), None)
    if at is None:
        return rest
    _, equals, name = rest[at].partition("=")
    if not equals:
        if at + 1 == len(rest):
            raise UserError("--config needs a file, such as run.toml")
        name = rest[at + 1]
    del rest[at : at + (1 if equals else 2)]
    file = Path(name).expanduser()
    if not file.is_file():
        raise UserError(f"{file}: no such file; --config takes a TOML file of options")
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not TOML ({error})") from None
    named = {word.partition("=")[0] for word in rest if word.startswith("--")}
    return [word for key, value in values.items() for word in option_words(key, value, named, file)] + rest


def option_words(key: str, value: Any, named: set[str], file: Path) -> list[str]:
    """Return the words of one option of the file, none where the command line gives the option too."""
    name = "--" + key.replace("_", "-")
    if name in named:
        return []
    if isinstance(value, bool):
        return [f"{name}={str(value).lower()}"]
    if isinstance(value, int | float | str):
        return [f"{name}={value}"]
    if isinstance(value, list) and all(isinstance(item, int | float | str) for item in value):
        return [name, *map(str, value)] if value else []
    raise UserError(f"{file}: {key}: a number, a text, true, false or a list of them is expected")


def as_toml(options: Any) -> str:
    """Return the options of a command as TOML, the fields of its configurations among them; None is left out."""
    values: dict[str, Any] = {}
    for one in fields(options):
        value = getattr(options, one.name)
        values |= to_json(value) if is_dataclass(value) else {one.name: value}
    lines = [f"{name} = {_toml(value)}" for name, value in values.items() if _has_value(value)]
    return "\n".join(lines) + "\n"


def _has_value(value: Any) -> bool:
    return value is not None and value != [] and not isinstance(value, Mapping)


def _toml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
