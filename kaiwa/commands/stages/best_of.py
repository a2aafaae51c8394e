"""kaiwa best-of: write the best of N replies by a reward model as demonstrations."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from kaiwa.commands.options import Flat
from kaiwa.commands.stages.common import DeviceOptions, run_stage
from kaiwa.core.artifact import Artifact, open_artifact
from kaiwa.core.context import Context
from kaiwa.rlhf.best_of_config import BestOfConfig


@dataclass(kw_only=True)
class Options(DeviceOptions):
    """Write the best of N replies to each prompt by a reward model as demonstrations: {"messages"}."""

    policy: Path  # the model that replies
    reward: Path  # an artifact of `kaiwa reward`
    prompts: Path  # a file or folder of any usual shape (docs/data.md)
    config: Flat[BestOfConfig] = field(default_factory=BestOfConfig)


def main(words: list[str]) -> None:
    """Run the stage."""
    run_stage("best-of", Options, words, run_best_of)


def run_best_of(options: Options, ctx: Context) -> Artifact:
    """Sample replies, score them, and publish the best."""
    from kaiwa.catalog.trainable import as_parent
    from kaiwa.rlhf.best_of import run

    policy, reward = as_parent(options.policy), open_artifact(options.reward, "reward")
    return run(options.config, ctx, policy=policy, reward=reward, prompts=options.prompts, out=options.out)
