"""kaiwa redteam defences: the defences by name."""

from __future__ import annotations

from dataclasses import dataclass

from kaiwa.commands.options import read_options


@dataclass(kw_only=True)
class Options:
    """List the defences by name, and the syntax to combine them."""


def main(words: list[str]) -> None:
    """Print the names."""
    read_options(Options, "kaiwa redteam defences", words)
    from kaiwa.defend.parse import names

    print(" ".join(names()))
    print("stacked with +, options in brackets: delimiters+canary_filter(partial=6); see docs/defend.md")
