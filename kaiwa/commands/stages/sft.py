"""kaiwa sft: fine-tune on demonstrations."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from kaiwa.commands.options import Flat
from kaiwa.commands.stages.common import DeviceOptions, run_stage_with_preset
from kaiwa.core.artifact import Artifact, open_artifact
from kaiwa.core.context import Context
from kaiwa.sft.config import SFTConfig


@dataclass(kw_only=True)
class Options(DeviceOptions):
    """Fine-tune a model on demonstrations: kaiwa sft --base smollm2-135m-instruct --demonstrations FILE --out DIR.

    --preset instructgpt-1.3b (or 6b, 175b, and each with -ppo-init): the paper's numbers as defaults.
    """

    base: Path  # the model to fine-tune: a name of `kaiwa models`, a folder or a .gguf file
    demonstrations: Path  # a file or folder of any usual shape (docs/data.md)
    tokens: Path | None = None  # pretraining text to mix in: an artifact of `kaiwa tokenizer`
    adapter: Path | None = None  # a LoRA adapter of the model (a folder) to train further
    validation: Path | None = None  # held-out records (default: a share of the others, validation_share)
    config: Flat[SFTConfig] = field(default_factory=SFTConfig)


def main(words: list[str]) -> None:
    """Run the stage."""
    run_stage_with_preset("sft", Options, words, run_sft)


def run_sft(options: Options, ctx: Context) -> Artifact:
    """Fine-tune the base."""
    from kaiwa.catalog.trainable import as_parent
    from kaiwa.sft.run import run

    tokens = open_artifact(options.tokens, "tokenizer") if options.tokens is not None else None
    base, demonstrations = as_parent(options.base), options.demonstrations
    return run(
        options.config, ctx, base=base, tokens=tokens, demonstrations=demonstrations,
        validation_file=options.validation, adapter=options.adapter, out=options.out,
    )  # fmt: skip
