"""kaiwa redteam import: reading of garak's or promptfoo's results as shares with intervals."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kaiwa.commands.console import table
from kaiwa.commands.options import Positional, arg, read_options


@dataclass(kw_only=True)
class Options:
    """Print garak's report.jsonl or promptfoo's results.json as shares with intervals.

    kaiwa redteam run … --compare FILE shows them in a run's report with the run's own results.
    """

    file: Positional[Annotated[Path, arg(metavar="FILE")]]
    out: Path | None = None  # file to write in the format of matrix.json


def main(words: list[str]) -> None:
    """Print the results, and write them to --out."""
    options = read_options(Options, "kaiwa redteam import", words)
    from kaiwa.redteam.bench.other_tools import read_results

    results = read_results(options.file)
    rows = [["tool", "model", "attack", "hits", "share", "95 %", "failed"]]
    for r in results:
        share = [f"{r.share.mean:.1%}", f"{r.share.low:.1%} to {r.share.high:.1%}"] if r.trials else ["–", "–"]
        rows.append([r.tool, r.model, r.name, f"{r.successes} of {r.trials}", *share, str(r.failed)])
    print(table(rows, lambda i: "<" if i < 3 else ">"))
    if options.out is not None:
        value = {"cells": [result.to_json() for result in results], "benign": []}
        options.out.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
