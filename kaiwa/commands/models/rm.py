"""kaiwa models rm: delete a pulled model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kaiwa.commands.options import Positional, arg, read_options


@dataclass(kw_only=True)
class Options:
    """Delete a pulled model, and the files cached to load the model faster."""

    name: Positional[Annotated[str, arg(metavar="MODEL")]]


def main(words: list[str]) -> None:
    """Delete the model and print the bytes freed."""
    options = read_options(Options, "kaiwa models rm", words)
    from kaiwa.core.home import home
    from kaiwa.engine.native.packed_folder import forget
    from kaiwa.hub.pull import remove

    folder, freed = remove(options.name, home() / "models", forget)
    print(f"removed {folder}: {freed / 1e6:,.1f} MB free again")
