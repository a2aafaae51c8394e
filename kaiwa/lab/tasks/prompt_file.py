r"""Prompts as files that people read and edit: TOML, or Markdown with one heading per element.

    instruction = "Sum up the text in three sentences."        # kaiwa prompt
    output_indicator = "Summary:"                              <!-- kaiwa: delimiters = hashes, language = en -->
    delimiters = "hashes"                                      ## instruction
    [[examples]]                                               Sum up the text in three sentences.
    input = "…"                                                ## output_indicator
    output = "…"                                               Summary:

In Markdown a line of an element that begins with # or \ is written with a leading \.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.lab.tasks.prompt import ELEMENTS, ORDER, Example, Prompt
from kaiwa.lab.tasks.rows import read_text
from kaiwa.text.records import Message

TEXTS = tuple(e for e in ELEMENTS if e != "examples")
FIELDS = (*ELEMENTS, "turns", "delimiters", "order", "language")
HEAD = re.compile(r"<!-- kaiwa: (.*) -->")


def read_prompt(path: Path) -> Prompt:
    """Read a .toml or .md file. UserError names the file and the mistake."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a prompt as .toml or .md")
    text = read_text(path)
    if path.suffix == ".toml":
        return prompt_from_toml(text, str(path))
    if path.suffix == ".md":
        return prompt_from_markdown(text, str(path))
    raise UserError(f"{path}: a prompt is a .toml or .md file")


def prompt_from_toml(text: str, where: str = "prompt") -> Prompt:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{where}: not TOML ({error})") from None
    return prompt_from_values(values, where)


def prompt_from_values(values: dict[str, Any], where: str = "prompt") -> Prompt:
    """Build a prompt from plain values, such as a table of a TOML file. UserError begins with `where`."""
    for name in values:
        if name not in FIELDS:
            raise UserError(f"{where}: a prompt has no element {name!r}{did_you_mean(name, FIELDS)}")
    for name in (*TEXTS, "delimiters", "language"):
        if not isinstance(values.get(name, ""), str):
            raise UserError(f"{where}: {name} must be text, not {values[name]!r}")
    examples = tuple(_example(row, f"{where}, example {i + 1}") for i, row in enumerate(values.get("examples", ())))
    turns = tuple(_turn(row, f"{where}, turn {i + 1}") for i, row in enumerate(values.get("turns", ())))
    order = tuple(values.get("order", ORDER))
    return Prompt(**{**values, "examples": examples, "turns": turns, "order": order})


def _example(row: Any, where: str) -> Example:
    """Read one example: `output`, and `input` or the columns of the prompt's variables."""
    if not isinstance(row, dict) or "output" not in row or len(row) < 2:
        raise UserError(f"{where}: needs an input and an output; several columns stand in place of the input")
    columns = {str(name): str(value) for name, value in row.items() if name not in ("input", "output")}
    return Example(str(row.get("input", "")), str(row["output"]), columns)


def _turn(row: Any, where: str) -> Message:
    """Read one turn before the question: {role, content}."""
    if not isinstance(row, dict) or set(row) != {"role", "content"}:
        raise UserError(f"{where}: needs a role (user or assistant) and a content, and nothing else")
    return Message(str(row["role"]), str(row["content"]))


def has_elements(text: str) -> bool:
    """Return whether a Markdown text is a prompt by elements, and not a plain text with headings of its own."""
    heads = [line.lstrip("#").strip() for line in text.split("\n") if line.startswith("#")]
    return HEAD.match(text) is not None or any(head in (*TEXTS, "example") for head in heads)


def prompt_from_markdown(text: str, where: str = "prompt") -> Prompt:
    lines = text.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    values: dict[str, Any] = {}
    sections: list[tuple[str, list[str]]] = []
    for number, line in enumerate(lines, 1):
        head = HEAD.fullmatch(line)
        if head is not None and not sections:
            for pair in head[1].split(", "):
                name, _, value = pair.partition(" = ")
                values[name] = value.split() if name == "order" else value
        elif line.startswith("#"):
            sections.append((line.lstrip("#").strip(), []))
        elif sections:
            sections[-1][1].append(line[1:] if line.startswith("\\") else line)
        elif line.strip():
            raise UserError(f"{where}:{number}: text before the first heading; begin with '## instruction'")
    examples: list[dict[str, str]] = []
    turns: list[dict[str, str]] = []
    for name, body in sections:
        content = "\n".join(body)
        if name in ("user", "assistant"):
            turns.append({"role": name, "content": content})
        elif name == "example":
            examples.append({"input": content})
        elif name == "output" and examples and "output" not in examples[-1]:
            examples[-1]["output"] = content
        elif name in TEXTS and name not in values:
            values[name] = content
        else:
            raise UserError(f"{where}: heading {name!r} is not expected here{did_you_mean(name, [*TEXTS, 'example'])}")
    lists: dict[str, Any] = {"examples": examples, "turns": turns}
    return prompt_from_values({**values, **{name: rows for name, rows in lists.items() if rows}}, where)
