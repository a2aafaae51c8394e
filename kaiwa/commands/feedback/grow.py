"""kaiwa feedback grow: further requests and dialogues, written by a model."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kaiwa.commands.options import Positional, arg, read_options
from kaiwa.core.errors import UserError


@dataclass(kw_only=True)
class Options:
    """Grow requests: a writer model deepens and widens those of FILE and makes dialogues of all (Wizard-Vicuna's way).

    FILE: prompts or dialogues of any usual shape. The records are demonstrations for `kaiwa sft`, and to be checked by
    people with `kaiwa feedback import`. Every one has its parent, writer, operation, seed and filters; what a filter
    stopped is in OUT.left_out.jsonl with the reason. After a stop, the same command goes on.
    """

    file: Positional[Annotated[Path, arg(metavar="FILE")]]
    writer: str  # a name from `kaiwa models`, a folder or a .gguf file; with --url a name of the server
    url: str = ""  # any OpenAI-compatible server
    api_key_env: str = ""  # the environment variable that holds the server's key
    out: Path | None = None  # default: FILE.grown.jsonl beside FILE
    deepen: int = 2  # versions of each request, each deeper than the one before: a constraint, reasons, a harder input
    widen: int = 1  # requests of the same kind on another topic
    turns: int = 3  # of the dialogue that each request becomes (0: requests only)
    n: int = 0  # largest number of requests read (0: all)
    most: int = 1200  # characters of a request
    max_tokens: int = 512  # of everything that the writer writes
    temperature: float = 0.8
    seed: int = 0


def main(words: list[str]) -> None:
    """Grow the file and print one summary line."""
    options = read_options(Options, "kaiwa feedback grow", words)
    from kaiwa.catalog.open_model import ModelChoice, open_model
    from kaiwa.feedback.grow import GrowConfig, grow
    from kaiwa.text.data import read_prompts

    config = GrowConfig(
        deepen=options.deepen, widen=options.widen, turns=options.turns, most=options.most,
        max_tokens=options.max_tokens, temperature=options.temperature, seed=options.seed,
    )  # fmt: skip
    requests = [record for _, record in read_prompts(options.file, _say)][: options.n or None]
    stem = options.file.name.removesuffix(".gz").rpartition(".")[0] or options.file.name
    out = options.out or options.file.with_name(f"{stem}.grown.jsonl")
    if out.resolve() == options.file.resolve():
        raise UserError(f"--out {out}: is the file to read; give another")
    opened = open_model(ModelChoice(model=options.writer, url=options.url, api_key_env=options.api_key_env))
    if opened.form != "chat":
        raise UserError(f"{options.writer} continues text and has not learnt to chat; give a chat model as --writer")
    print(grow(requests, opened.model, config, out, _say).line(out))


def _say(line: str) -> None:
    print(line, file=sys.stderr)
