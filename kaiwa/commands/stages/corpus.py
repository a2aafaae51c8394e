"""kaiwa corpus: clean, deduplicate and split text."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kaiwa.commands.stages.common import StageOptions, run_stage
from kaiwa.core.artifact import Artifact
from kaiwa.core.context import Context
from kaiwa.corpus.config import CorpusConfig, from_paths


@dataclass(kw_only=True)
class Options(StageOptions):
    """Clean, deduplicate and split text: plain, Markdown, HTML, JSONL, Parquet, WARC, WET, files or folders."""

    source: tuple[str, ...] = ()  # files and folders (default: Python's documentation and 2 MB of its library)
    workers: int = 0  # processes (0: one per core)
    strict: bool = False  # stop at the first unreadable file, instead of reporting the file and continuing


def main(words: list[str]) -> None:
    """Run the stage."""
    run_stage("corpus", Options, words, run_corpus)


def run_corpus(options: Options, ctx: Context) -> Artifact:
    """Build the corpus from the chosen sources."""
    from kaiwa.corpus.run import run

    config = CorpusConfig(workers=options.workers, strict=options.strict)
    if options.source:
        config = replace(config, sources=from_paths(options.source))
    return run(config, ctx, out=options.out)
