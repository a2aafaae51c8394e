"""kaiwa pretrain: train a GPT on text."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from kaiwa.commands.options import Flat
from kaiwa.commands.stages.common import DeviceOptions, run_stage
from kaiwa.core.artifact import Artifact, open_artifact
from kaiwa.core.context import Context
from kaiwa.pretrain.config import PretrainConfig


@dataclass(kw_only=True)
class Options(DeviceOptions):
    """Train a GPT on the token shards of a tokenizer artifact."""

    tokens: Path  # an artifact of `kaiwa tokenizer`
    config: Flat[PretrainConfig] = field(default_factory=PretrainConfig)


def main(words: list[str]) -> None:
    """Run the stage."""
    run_stage("pretrain", Options, words, run_pretrain)


def run_pretrain(options: Options, ctx: Context) -> Artifact:
    """Pretrain on the shards."""
    from kaiwa.pretrain.run import run

    return run(options.config, ctx, tokens=open_artifact(options.tokens, "tokenizer"), out=options.out)
