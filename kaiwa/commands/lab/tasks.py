"""kaiwa lab tasks: the built-in tasks, loaders and techniques."""

from __future__ import annotations

from dataclasses import dataclass

from kaiwa.commands.options import read_options


@dataclass(kw_only=True)
class Options:
    """List the built-in tasks, the loaders of published files, and the techniques."""


def main(words: list[str]) -> None:
    """Print the names."""
    read_options(Options, "kaiwa lab tasks", words)
    from kaiwa.lab.tasks.benchmarks import LOADERS
    from kaiwa.lab.tasks.by_name import GENERATED
    from kaiwa.lab.techniques.by_name import NAMED

    print("tasks       " + " ".join(f"{stem}-{language}" for stem in GENERATED for language in ("en", "ja")))
    print("loaders     " + " ".join(LOADERS))
    print("techniques  " + " ".join(NAMED))
