"""The page docs/commands.md: every command with its options, made from the commands' own help.

python -m kaiwa.commands.reference > docs/commands.md
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator

from kaiwa.cli import COMMANDS, command

HEAD = """# Commands

Every command and its options. `kaiwa COMMAND --help` prints the same. Options are written `--name VALUE` or
`--name=VALUE`; a build also takes every field of its stages (`--pretrain.steps 500`).
This page is made by `python -m kaiwa.commands.reference > docs/commands.md`; a test holds it to the commands.
"""
WIDTH = "100"  # columns
HEAD_INDENT = 2  # of an option's name; its text stands further in


def command_names() -> Iterator[tuple[str, ...]]:
    """Yield every command as its words, such as ("lab", "run")."""
    for name in COMMANDS:
        group = getattr(sys.modules[command(name).__module__], "COMMANDS", None)
        yield from [(name,)] if group is None else [(name, inner) for inner in group]


def help_text(words: tuple[str, ...]) -> str:
    """Return what `--help` prints for a command, in WIDTH columns."""
    text, columns = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = WIDTH
    try:
        with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
            command(words[0])([*words[1:], "--help"])
    finally:
        os.environ.pop("COLUMNS")
        if columns is not None:
            os.environ["COLUMNS"] = columns
    return text.getvalue()


def option_lines(text: str) -> Iterator[str]:
    """Yield the arguments and options of a help text as list items: names, then what they do."""
    item, has_arguments = "", False
    for raw in text.splitlines():
        line = raw.strip()
        if len(raw) - len(raw.lstrip()) > HEAD_INDENT:
            item += f" {line}" if item else ""
            continue
        if item:
            yield item
        item = ""
        if line.endswith((" options", " arguments")) or line == "options":
            has_arguments = line.endswith(" arguments")
        elif line and (has_arguments or line.startswith("-")):
            names, _, about = re.sub(r" {2,}", "\t", line, count=1).partition("\t")
            item = f"- `{names}`" + (f" {about}" if about else "")
    if item:
        yield item


def section(words: tuple[str, ...]) -> str:
    """Return a command's section: its description, its arguments and options."""
    text = help_text(words)
    parts = re.split(r"\n (?:positional arguments|[\w.]* ?options)\n", text, maxsplit=1)
    about = parts[0].partition("\n")[2].strip()
    lines = [line for line in option_lines(text[len(parts[0]) :]) if not line.startswith("- `-h, --help`")]
    options = "\n".join(lines)
    return f"## kaiwa {' '.join(words)}\n\n{about}\n" + (f"\n{options}\n" if options else "")


def page() -> str:
    """Return the whole page."""
    return "\n".join([HEAD, *(section(words) for words in command_names())])


if __name__ == "__main__":
    print(page(), end="")
