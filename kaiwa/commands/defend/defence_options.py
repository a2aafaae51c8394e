"""What the commands on defences share: which defence, and the model that judges for it."""

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
    """A defence, and the model that judges for it (detector and perplexity need one)."""

    defence: Positional[Annotated[str, arg(metavar="DEFENCE|FILE.toml")]]


def read_defence(name: str) -> DefenceFile:
    """Return the defence of a file, or of a name as if it stood in one."""
    from kaiwa.defend.parse import DefenceFile, read_file

    if name.endswith(".toml") or Path(name).is_file():
        return read_file(Path(name))
    return DefenceFile(path="defence", defence=name, options={})


def make_stack(described: DefenceFile, options: ModelOptions) -> Stack:
    """Return the defence's parts, with a model to judge where they need one.

    Whether secrets and filters go together is for the server to check, not here.
    """
    from kaiwa.defend import parse

    judge = None
    if described.judges:
        judge = open_model(options.choice(options.model or described.model)).model
    return parse.make_stack(described.defence, described.options, judge, described.path)


def benign_texts(path: Path) -> list[str]:
    """Return one text per line, or of each JSONL row the text or the last user's message. UserError for none."""
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
        raise UserError(f"{path}: no texts in it; one a line is expected")
    return texts


def print_milliseconds(seconds: float, prefix: str = "") -> None:
    """Print on stderr what the defence took."""
    print(f"{prefix}{1000 * seconds:.2f} ms", file=sys.stderr)
