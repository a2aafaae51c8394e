"""Common parts of the commands on defences: the defence, its judge model, benign texts."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from kaiwa.catalog.open_model import open_model
from kaiwa.commands.model_options import ModelOptions
from kaiwa.commands.options import Positional, arg
from kaiwa.core.errors import UserError

if TYPE_CHECKING:
    from kaiwa.defend.defence import Stack
    from kaiwa.defend.parse import DefenceFile


@dataclass(kw_only=True)
class DefenceOptions(ModelOptions):
    """A defence, and the judge model that detector and perplexity need."""

    defence: Positional[Annotated[str, arg(metavar="DEFENCE|FILE.toml")]]


def read_defence(name: str) -> DefenceFile:
    """Return the defence of a TOML file, or of a name."""
    from kaiwa.defend.parse import DefenceFile, read_file

    if name.endswith(".toml") or Path(name).is_file():
        return read_file(Path(name))
    return DefenceFile(path="defence", defence=name, options={})


def make_stack(described: DefenceFile, options: ModelOptions) -> Stack:
    """Return the defence's parts, with an opened judge model if a part needs one.

    The server checks whether secrets and filters match, not this function.
    """
    from kaiwa.defend import parse

    judge = None
    if described.judges:
        judge = open_model(options.choice(options.model or described.model)).model
    return parse.make_stack(described.defence, described.options, judge, described.path)


def benign_texts(path: Path) -> list[str]:
    """Return the texts of a file: one per line, or per JSONL row "text" or the last user message. UserError if none."""
    from kaiwa.text.records import conversation, read_jsonl

    if path.suffix == ".jsonl":
        texts = []
        for row in read_jsonl(path):
            turns = [m.content for m in conversation(row["messages"]) if m.role == "user"] if "messages" in row else []
            texts.append(turns[-1] if turns else str(row.get("text", "")))
    else:
        try:
            texts = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read ({error}); give a UTF-8 text file") from None
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise UserError(f"{path}: no texts in it; one text per line is expected")
    return texts


def print_milliseconds(seconds: float, prefix: str = "") -> None:
    """Print the defence's time in milliseconds on stderr."""
    print(f"{prefix}{1000 * seconds:.2f} ms", file=sys.stderr)
