"""kaiwa feedback export: what was judged, as the trainers and other tools read it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from kaiwa.commands.feedback import open_store
from kaiwa.commands.options import Positional, arg, read_options
from kaiwa.core.errors import UserError


@dataclass(kw_only=True)
class Options:
    """Write a batch's judgements as JSON lines: comparisons for `kaiwa reward` and `kaiwa dpo`, demonstrations for
    `kaiwa sft`.

    Of an answer that was changed the newest counts. The pairwise forms (trl, hh) have a ranking's untied pairs.
    """

    batch: Positional[Annotated[str, arg(metavar="BATCH")]]
    out: Path | None = None  # a file (default: standard output)
    format: Literal["kaiwa", "trl", "hh", "messages", "sharegpt", "argilla", "label-studio"] = "kaiwa"
    screening: bool = False  # also the items with known ranks


def main(words: list[str]) -> None:
    """Write the records, and a line on standard error about how many."""
    options = read_options(Options, "kaiwa feedback export", words)
    from kaiwa.feedback.export_forms import WRITERS
    from kaiwa.feedback.judged import export_lines, records

    store = open_store()
    lines: list[str] = []
    left_out: list[str] = []
    if options.format == "kaiwa":
        lines = [_line(value) for value in export_lines(store, options.batch, screening=options.screening)]
    else:
        for number, record in enumerate(records(store, options.batch, screening=options.screening), 1):
            try:
                lines += [_line(value) for value in WRITERS[options.format](record)]
            except UserError as error:
                left_out.append(f"record {number}: {error}")
    text = "".join(line + "\n" for line in lines)
    if options.out is None:
        sys.stdout.write(text)
    else:
        options.out.write_text(text, encoding="utf-8")
    note = f"; {len(left_out):,} left out, the first is {left_out[0]}" if left_out else ""
    print(f"{options.batch}: {len(lines):,} records{note}", file=sys.stderr)


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
