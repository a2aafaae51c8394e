"""kaiwa rlhf: train by reinforcement learning (PPO-ptx, RLOO or GRPO)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from kaiwa.commands.options import Flat
from kaiwa.commands.stages.common import DeviceOptions, run_stage_with_preset
from kaiwa.core.artifact import Artifact, open_artifact
from kaiwa.core.context import Context
from kaiwa.rlhf.config import RLHFConfig


@dataclass(kw_only=True)
class Options(DeviceOptions):
    """Train by PPO-ptx, RLOO or GRPO against a reward model or a function (--score FILE.py:NAME).

    --preset instructgpt-1.3b (or 6b, 175b): the paper's numbers as defaults.
    """

    policy: Path  # the model to train: a name of `kaiwa models`, a folder or a .gguf file
    prompts: Path  # a file or folder of any usual shape (docs/data.md); answers in it are left out
    reward: Path | None = None  # an artifact of `kaiwa reward`
    tokens: Path | None = None  # pretraining text, for ptx: an artifact of `kaiwa tokenizer`
    plan: bool = False  # print the memory needed, and stop
    config: Flat[RLHFConfig] = field(default_factory=RLHFConfig)


def main(words: list[str]) -> None:
    """Run the stage."""
    run_stage_with_preset("rlhf", Options, words, run_rlhf)


def run_rlhf(options: Options, ctx: Context) -> Artifact | None:
    """Train the policy; with --plan print the memory needed and return None."""
    from kaiwa.catalog.trainable import as_parent
    from kaiwa.rlhf.memory import memory_table
    from kaiwa.rlhf.prompts import prompts_that_fit
    from kaiwa.rlhf.run import run

    policy = as_parent(options.policy)
    reward = open_artifact(options.reward, "reward") if options.reward is not None else None
    if options.plan:
        prompts = prompts_that_fit(options.config, ctx, policy.path, options.reward, options.prompts)
        longest = max(len(ids) for ids, _ in prompts)
        print(memory_table(options.config, policy.path, options.reward, longest))
        return None
    tokens = open_artifact(options.tokens, "tokenizer") if options.tokens is not None else None
    prompts_file = options.prompts
    return run(options.config, ctx, policy=policy, reward=reward, tokens=tokens, prompts=prompts_file, out=options.out)
