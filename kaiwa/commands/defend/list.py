"""kaiwa defend list: the defences by name, with their options."""

from __future__ import annotations

from dataclasses import dataclass

from kaiwa.commands.console import table
from kaiwa.commands.options import read_options


@dataclass(kw_only=True)
class Options:
    """List the defences by name, with their options and effects."""


def main(words: list[str]) -> None:
    """Print the table."""
    read_options(Options, "kaiwa defend list", words)
    from kaiwa.defend.cards import card
    from kaiwa.defend.parse import PARTS, option_fields

    rows = [["name", "options", "what", "harmless texts refused"]]
    for name, part in PARTS.items():
        options = ", ".join(f"{f.name}={f.default}" if f.default != "" else f.name for f in option_fields(name))
        rows.append([name, options, (part.__doc__ or "").strip().splitlines()[0], card(name)])
    print(table(rows, lambda i: "<"))
