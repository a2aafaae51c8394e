"""kaiwa export: conversion of a model to the format of other programs."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from kaiwa.commands.options import Positional, arg, read_options
from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError


@dataclass(kw_only=True)
class Options:
    """Write a model in another program's format, then load the export and compare the logits.

    The export is loaded by kaiwa, and by the other program if its package is installed.
    """

    model: Positional[Annotated[str, arg(metavar="MODEL")]]
    target: Annotated[str, tyro.conf.arg(name="for")]  # transformers, vllm, gguf or ollama
    out: Path  # the folder or file to write
    type: str = "F16"  # of a GGUF file's weights: F16, BF16, F32, Q8_0, Q4_0 or Q4_1


def main(words: list[str]) -> None:
    """Export the model and print the results of the check."""
    options = read_options(Options, "kaiwa export", words)
    from kaiwa.hub.export import TARGETS
    from kaiwa.hub.gguf_write import KINDS

    target, kind = options.target, options.type
    if target not in TARGETS:
        raise UserError(f"--for {target}: there is {', '.join(TARGETS)}{did_you_mean(target, TARGETS)}")
    if kind not in KINDS:
        raise UserError(f"--type {kind}: there is {', '.join(KINDS)}{did_you_mean(kind, KINDS)}")
    from kaiwa.catalog.entries import entry_by_name_or_path
    from kaiwa.catalog.trainable import open_base
    from kaiwa.hub.export import ExportSource, export
    from kaiwa.hub.verify import verify

    entry = entry_by_name_or_path(options.model)
    decoder, tokenizer = open_base(entry.path)
    folder = entry.path if entry.path.is_dir() else None
    source = ExportSource(name=entry.name, decoder=decoder, tokenizer=tokenizer, folder=folder)
    exported = export(source, target, options.out, kind, lambda line: print(line, file=sys.stderr))
    try:
        checks = verify(source, exported)
    except UserError:
        shutil.rmtree(options.out, ignore_errors=True)  # the folder is new: export refuses an existing folder
        raise
    print(exported)
    for check in checks:
        print(check.line())
