"""kaiwa models plan: memory and speed of a model, without loading the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kaiwa.catalog.entries import Entry, entry_by_name_or_path
from kaiwa.commands.options import Positional, arg, read_options


@dataclass(kw_only=True)
class Options:
    """Print the device of each weight, bytes and expected tokens/s, without loading the model."""

    model: Positional[Annotated[str, arg(metavar="MODEL")]]
    max_memory: str = ""  # 8GB, or gpu=6GiB,cpu=16GiB (also planned without a GPU)
    device: str = ""


def main(words: list[str]) -> None:
    """Print the plan."""
    options = read_options(Options, "kaiwa models plan", words)
    print_plan(entry_by_name_or_path(options.model), options.device, options.max_memory)


def print_plan(entry: Entry, device: str, max_memory: str) -> None:
    """Print the device of each weight of a model, the bytes, and the expected speed."""
    from kaiwa.catalog.memory_plan import ALL, plan
    from kaiwa.engine.rows.cpu_offload import parse_limits

    print(plan(entry, device, parse_limits(max_memory) if max_memory else ALL).as_text())
