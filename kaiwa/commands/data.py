"""kaiwa data: what a data file holds, and what of it would be learned."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from kaiwa.commands.options import Flat, Positional, arg, read_options
from kaiwa.core.extras import missing_extra
from kaiwa.text.data import DataOptions

if TYPE_CHECKING:
    from kaiwa.text.pieces import Encoder, PromptPiece

MOST_SHOWN = 1500  # characters of an example
UNDERLINE, PLAIN = "\x1b[4m", "\x1b[24m"


@dataclass(kw_only=True)
class Options:
    """Show a data file's shape, lengths and repetitions, and three examples with what is learned underlined.

    FILE: JSON, JSONL, CSV, Parquet, also gzipped, or a folder of such files, as every stage reads them.
    """

    file: Positional[Annotated[Path, arg(metavar="FILE")]]
    model: str = ""  # whose tokens and chat template: a name of `kaiwa models` or a path (default: SmolLM2)
    kind: Literal["auto", "demonstrations", "comparisons", "prompts"] = "auto"  # how to read the rows
    held_out: Path | None = None  # a second file, whose prompts should not be in the first
    width: int = 0  # tokens of a row (0: 1024, or the model's context if that is less)
    examples: int = 3
    data: Flat[DataOptions] = field(default_factory=DataOptions)


def main(words: list[str]) -> None:
    """Read the file and print its card."""
    options = read_options(Options, "kaiwa data", words)
    from kaiwa.text.data_card import describe, length_lines

    name, tokenizer, context = _tokenizer(options.model)
    kind = None if options.kind == "auto" else options.kind
    card = describe(
        options.file, tokenizer, lambda line: print(f"! {line}"), kind=kind, options=options.data,
        held_out=options.held_out, n_examples=options.examples,
    )  # fmt: skip
    print(f"{options.file}: {card.shape}, read as {card.n:,} {card.kind}")
    if tokenizer is None:
        print(f"not counted in tokens, nor shown as a chat template writes it: that needs {name}")
    else:
        print(f"with {name}{f', the first {len(card.lengths):,}' if len(card.lengths) < card.n else ''}:")
        for line in length_lines(card.lengths, context, min(options.width or 1024, context)):
            print(f"  {line}")
    if tokenizer is not None and card.kind != "prompts":
        total = sum(card.lengths)
        print(f"  {card.n_learned:,} of {total:,} tokens are learned ({card.n_learned / max(1, total):.0%})")
    for why, count in card.unmarked.items():
        print(f"  {count:,} turns are not learned: {why}")
    print(f"repeated: {card.repeated:,} whole, {card.prompts_repeated:,} by their prompt")
    if options.held_out is not None:
        print(f"held out: {card.leaked:,} of {card.n_held_out:,} prompts of {options.held_out} are in this file too")
    for number, pieces in card.examples:
        print(f"\n--- row {number}; {'underlined' if sys.stdout.isatty() else 'in ⟦ ⟧'}: learned")
        print(marked(pieces, sys.stdout.isatty()))


def _tokenizer(model: str) -> tuple[str, Encoder | None, int]:
    """Return a model's name, tokenizer and context. Without --model, and where no model can be read: what is missing,
    None and 0. UserError for a model that cannot be read."""
    try:
        from kaiwa.catalog.entries import SMOLLM2, entries, entry_by_name_or_path, smollm2_install
        from kaiwa.catalog.trainable import context_length, read_tokenizer
    except ModuleNotFoundError as error:
        if model or (missing := missing_extra(error, "a model's tokenizer")) is None:
            raise
        return str(missing).rpartition("; ")[2], None, 0
    if not model and not any(entry.name == SMOLLM2 for entry in entries()):
        return f"a model: --model, or {smollm2_install()}", None, 0
    entry = entry_by_name_or_path(model or SMOLLM2)
    return entry.name, read_tokenizer(entry.path), context_length(entry.path)


def marked(pieces: Sequence[PromptPiece], live: bool) -> str:
    """Return pieces as text, what is learned underlined on a terminal and in brackets elsewhere."""
    before, after = (UNDERLINE, PLAIN) if live else ("⟦", "⟧")
    parts: list[str] = []
    length, learning = 0, False
    for piece in pieces:
        if bool(piece.learn) != learning:
            learning = not learning
            parts.append(before if learning else after)
        parts.append(piece.text[: max(0, MOST_SHOWN - length)])
        length += len(piece.text)
    if length > MOST_SHOWN:
        parts.append(" …")
    return "".join(parts) + (after if learning else "")
