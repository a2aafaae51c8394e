"""kaiwa redteam targets: the example targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kaiwa.commands.console import table
from kaiwa.commands.options import Positional, arg, read_options
from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError


@dataclass(kw_only=True)
class Options:
    """List the example targets; with a name, print the target's file: kaiwa redteam targets keeper.en > target.toml"""

    name: Positional[Annotated[str, arg(metavar="TARGET")]] = ""


def main(words: list[str]) -> None:
    """Print the table of examples, or one example's file."""
    options = read_options(Options, "kaiwa redteam targets", words)
    from kaiwa.redteam.targets.target import example_text, list_examples, read_target

    if options.name:
        if options.name not in list_examples():
            raise UserError(f"no example {options.name!r}{did_you_mean(options.name, list_examples())}")
        print(example_text(options.name), end="")
        return
    rows = [["name", "language", "secrets", "rules", "facts", "documents", "tools", "system prompt"]]
    for name in list_examples():
        t = read_target(name)
        counts = [str(len(x)) for x in (t.secrets, t.rules, t.facts, t.documents, t.tools)]
        rows.append([name, t.language, *counts, t.system[:48] + "…"])
    print(table(rows, lambda i: "<"))
