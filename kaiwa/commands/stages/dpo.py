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
    """Train a model directly on preferences or rankings, without a reward model."""

    policy: Path  # the model to train and reference: a name of `kaiwa models`, a folder or a .gguf file
    comparisons: Path  # pairs or rankings: a file or folder of any usual shape (docs/data.md)
    adapter: Path | None = None  # a LoRA adapter of the model (a folder) to train further
    validation: Path | None = None  # held-out records (default: a share of the others, validation_share)
    config: Flat[DPOConfig] = field(default_factory=DPOConfig)


def main(words: list[str]) -> None:
    """Run the stage."""
    run_stage("dpo", Options, words, run_dpo)


def run_dpo(options: Options, ctx: Context) -> Artifact:
    """Train the policy on the pairs."""
    from kaiwa.catalog.trainable import as_parent
    from kaiwa.dpo.run import run

    policy = as_parent(options.policy)
    return run(
        options.config, ctx, policy=policy, comparisons=options.comparisons, validation_file=options.validation,
        adapter=options.adapter,
        out=options.out,
    )  # fmt: skip
