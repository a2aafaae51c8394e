"""kaiwa feedback sheet: the instruction sheet of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kaiwa.commands.feedback import open_store
from kaiwa.commands.options import Positional, arg, read_options
from kaiwa.core.errors import UserError


@dataclass(kw_only=True)
class Options:
    """Print a batch's instruction sheet; with --en or --ja, change it from the next item on.

    A changed sheet is a new version, and every judgement names the version that its labeller saw.
    """

    batch: Positional[Annotated[str, arg(metavar="BATCH")]]
    en: Path | None = None  # Markdown in English
    ja: Path | None = None  # Markdown in Japanese


def main(words: list[str]) -> None:
    """Print or change the sheet."""
    options = read_options(Options, "kaiwa feedback sheet", words)
    store = open_store()
    texts = {name: _text(file) for name, file in (("en", options.en), ("ja", options.ja)) if file is not None}
    if texts:
        print(f"{options.batch}: sheet {store.change_sheet(options.batch, texts)} holds from the next item on")
        return
    version = store.batch(options.batch).instruction
    print(f"{version}\n\n" + "\n\n".join(store.sheet(version).values()))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read as UTF-8 text ({error})") from None
