"""kaiwa dpo: train on preferences without a reward model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from kaiwa.commands.options import Flat
from kaiwa.commands.stages.common import DeviceOptions, run_stage
from kaiwa.core.artifact import Artifact
from kaiwa.core.context import Context
from kaiwa.dpo.config import DPOConfig


@dataclass(kw_only=True)
class Options(DeviceOptions):
    """Train a model (a folder, a .gguf file) directly on a JSONL of {"prompt","chosen","rejected"} or of rankings."""

    policy: Path  # the model to train, which is also the reference
    comparisons: Path  # pairs or rankings
    config: Flat[DPOConfig] = field(default_factory=DPOConfig)


def main(words: list[str]) -> None:
    """Run the stage."""
    run_stage("dpo", Options, words, run_dpo)


def run_dpo(options: Options, ctx: Context) -> Artifact:
    """Train the policy on the pairs."""
    from kaiwa.catalog.trainable import as_parent
    from kaiwa.dpo.run import run

    policy = as_parent(options.policy)
    return run(options.config, ctx, policy=policy, comparisons=options.comparisons, out=options.out)
