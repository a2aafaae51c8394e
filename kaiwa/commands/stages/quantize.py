"""kaiwa quantize: convert a model to four bits per weight."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from kaiwa.commands.options import Flat
from kaiwa.commands.stages.common import StageOptions, run_stage
from kaiwa.core.artifact import Artifact, open_artifact
from kaiwa.core.context import Context
from kaiwa.quantize.config import QuantizeConfig


@dataclass(kw_only=True)
class Options(StageOptions):
    """Convert a model to four bits per weight, and measure the perplexity before and after."""

    model: Path  # a model's artifact
    tokens: Path  # held-out text for the perplexity: an artifact of `kaiwa tokenizer`
    config: Flat[QuantizeConfig] = field(default_factory=QuantizeConfig)


def main(words: list[str]) -> None:
    """Run the stage."""
    run_stage("quantize", Options, words, run_quantize)


def run_quantize(options: Options, ctx: Context) -> Artifact:
    """Quantize the model."""
    from kaiwa.quantize.run import run

    tokens = open_artifact(options.tokens, "tokenizer")
    return run(options.config, ctx, model=open_artifact(options.model), tokens=tokens, out=options.out)
