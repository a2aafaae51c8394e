"""Variables of a prompt: `{name}` with a column's name, and what other tools write instead.

A name may hold anything that a CSV's heading holds. What stands between braces and is no column is one of two: a name
that cannot be filled, which is refused, or JSON, code and the like, which stays as it is ({"a": 1}, {x; y}).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError

VARIABLE = re.compile(r"\{\{|\}\}|\{([^{}\n]+)\}")
NO_NAME = re.compile(r"[\"':;=<>,\\|$%]")  # JSON, code, LaTeX: no name of a column, unless a column has this very name
ALIKE = 0.8  # of difflib: so near a column's name that it is a slip
DOUBLE = re.compile(r"\{\{\{?&?\s*([^{}|\n]+?)\s*(?:\|[^{}\n]*)?\}?\}\}")  # Jinja, mustache, handlebars
BLOCK = re.compile(r"\{%-?\s*(?:for|if|endfor|endif|set|include|macro)\b|\{\{[#/^>]\s*\w+")
FORMATTED = re.compile(r"(.+?)(?:![rsa])?(?::[^{}]*)?")  # an f-string's {name!r} and {name:.2f}


def _name(written: str, columns: Collection[str]) -> str | None:
    """Return the column that the text between braces names, itself where it reads like a name, or None."""
    if written in columns:
        return written
    bare = written.strip()
    if bare in columns:
        return bare
    if not bare:
        return None
    if NO_NAME.search(bare) or not re.search(r"\w", bare):
        near = difflib.get_close_matches(bare, [c for c in columns if NO_NAME.search(c)], 1, ALIKE)
        return bare if near else None
    return bare


def variable_names(template: str, columns: Collection[str] = ()) -> set[str]:
    """Return the names in a template that are or read like columns."""
    names = (_name(match[1], columns) for match in VARIABLE.finditer(template) if match[1] is not None)
    return {name for name in names if name is not None}


def fill(template: str, values: Mapping[str, str], where: str = "prompt") -> str:
    """Replace a template's variables, once. UserError for a variable without a value.

    `}}` is a brace where `{{` came before: the end of {"a": {"b": 1}} stays as it is.
    """
    n_open = 0

    def value(match: re.Match[str]) -> str:
        nonlocal n_open
        if match[0] == "{{":
            n_open += 1
            return "{"
        if match[0] == "}}":
            n_open -= 1
            return "}" if n_open >= 0 else "}}"
        name = _name(match[1], values)
        if name is None:
            return match[0]
        if name not in values:
            raise UserError(f"{where}: {_no_column(name, values)}")
        return str(values[name])

    return VARIABLE.sub(value, template)


def _no_column(name: str, columns: Collection[str]) -> str:
    hint = did_you_mean(name, columns)
    literal = "" if "did you mean" in hint else f"; for the text itself write {{{{{name}}}}}"
    return f"the variable {{{name}}} has no column{hint}{literal}"


def check_parts(parts: Collection[str], columns: Collection[str], where: str) -> None:
    """Check a prompt's texts against a file's columns. UserError for what cannot be filled, for variables in another
    tool's writing, and where no variable is left that differs from item to item.
    """
    names = {name for part in parts for name in variable_names(part, columns)}
    for line in _foreign(parts, columns, names):
        raise UserError(f"{where}: {line}")
    for name in sorted(names - set(columns)):
        raise UserError(f"{where}: {_no_column(name, columns)}")
    if not names:
        raise UserError(
            f"{where}: no variable in it, so every item would send the same text; put {{column}} into input"
        )


def _foreign(parts: Collection[str], columns: Collection[str], names: Collection[str]) -> Iterator[str]:
    """Yield what is written as another tool's template, where the column is not filled elsewhere in the prompt."""
    for part in parts:
        if block := BLOCK.search(part):
            yield f"{block[0]!r} begins a block of Jinja or mustache, which is not read here; write {{column}}"
        for match in DOUBLE.finditer(part):
            name = re.split(r"[.\[(]", match[1])[0].strip()
            if (match[1] in columns or name in columns or not names) and match[1] not in names:
                yield f"{match[0]} is Jinja's and mustache's writing and would be sent as text; write {{{match[1]}}}"
        for match in VARIABLE.finditer(part):
            form = FORMATTED.fullmatch(match[1] or "")
            if form and match[1] not in columns and form[1] != match[1] and form[1].strip() in columns:
                yield f"{match[0]} has an f-string's format, which is not read here; write {{{form[1]}}}"
        for match in re.finditer(r"%\(([^()\n]+)\)[sdrf]", part):
            if match[1] in columns and match[1] not in names:
                yield f"{match[0]} is Python's old format and would be sent as text; write {{{match[1]}}}"
