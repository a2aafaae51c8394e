"""kaiwa reward: train a reward model on rankings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from kaiwa.commands.options import Flat
from kaiwa.commands.stages.common import DeviceOptions, run_stage_with_preset
from kaiwa.core.artifact import Artifact
from kaiwa.core.context import Context
from kaiwa.reward.config import RewardConfig


@dataclass(kw_only=True)
class Options(DeviceOptions):
    """Train a reward model from rankings or preferences.

    --preset instructgpt-1.3b (or 6b, 175b): the paper's numbers as defaults.
    """

    policy: Path  # the model to start from, of any size: a name of `kaiwa models`, a folder or a .gguf file
    comparisons: Path  # rankings or pairs: a file or folder of any usual shape (docs/data.md)
    demonstrations: Path | None = None  # their mean score becomes zero; a file or folder
    validation: Path | None = None  # held-out comparisons (default: a share of the others, validation_share)
    config: Flat[RewardConfig] = field(default_factory=RewardConfig)


def main(words: list[str]) -> None:
    """Run the stage."""
    run_stage_with_preset("reward", Options, words, run_reward)


def run_reward(options: Options, ctx: Context) -> Artifact:
    """Train the reward model."""
    from kaiwa.catalog.trainable import as_parent
    from kaiwa.reward.run import run

    return run(
        options.config, ctx, policy=as_parent(options.policy), comparisons=options.comparisons,
        demonstrations=options.demonstrations, validation_file=options.validation, out=options.out,
    )  # fmt: skip
