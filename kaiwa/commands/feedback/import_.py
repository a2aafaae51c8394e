"""kaiwa feedback import: rankings, dialogues and prompts of other people and tools."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from kaiwa.commands.feedback import open_store
from kaiwa.commands.options import Positional, arg, read_options


@dataclass(kw_only=True)
class Options:
    """Read a file into a batch: ours, TRL, Anthropic's pairs, OpenAI messages, ShareGPT, Argilla, Label Studio, Alpaca,
    also gzipped, CSV or Parquet; or our chats (a conversations.sqlite: answers given twice become items to rank).

    Rankings come in as judgements, dialogues as demonstrations, prompts as items to be answered. A row whose fields
    disagree is named and left out. The same file twice adds nothing.
    """

    file: Positional[Annotated[Path, arg(metavar="FILE")]]
    batch: str = ""  # default: the file's name
    # refuse rows of another form
    format: Literal["auto", "kaiwa", "trl", "hh", "messages", "sharegpt", "argilla", "label-studio", "chats"] = "auto"


def main(words: list[str]) -> None:
    """Import the file, and print one summary line."""
    options = read_options(Options, "kaiwa feedback import", words)
    from kaiwa.feedback.import_file import import_file

    stem = re.sub(r"[^a-z0-9_-]+", "-", options.file.name.lower().partition(".")[0]).strip("-_")[:40]
    name = options.batch or stem or "imported"
    summary = import_file(open_store(), options.file, name, _say, options.format)
    print(summary.line(options.file))


def _say(line: str) -> None:
    print(f"! {line}", file=sys.stderr)
