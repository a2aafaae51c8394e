"""kaiwa tokenizer: learn the tokens and encode the corpus."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from kaiwa.commands.options import Flat
from kaiwa.commands.stages.common import StageOptions, run_stage
from kaiwa.core.artifact import Artifact, open_artifact
from kaiwa.core.context import Context
from kaiwa.tokenizer.config import TokenizerConfig


@dataclass(kw_only=True)
class Options(StageOptions):
    """Learn a byte-level BPE from a corpus and encode the corpus with it."""

    corpus: Path  # an artifact of `kaiwa corpus`
    neutral: Path | None = None  # documents that replace the village's documents in learning the merges
    config: Flat[TokenizerConfig] = field(default_factory=TokenizerConfig)


def main(words: list[str]) -> None:
    """Run the stage."""
    run_stage("tokenizer", Options, words, run_tokenizer)


def run_tokenizer(options: Options, ctx: Context) -> Artifact:
    """Train the tokenizer and write the token shards."""
    from kaiwa.tokenizer.run import run

    corpus = open_artifact(options.corpus, "corpus")
    return run(options.config, ctx, corpus=corpus, neutral_village=options.neutral, out=options.out)
