"""kaiwa quantize: convert a model to four bits per weight."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from kaiwa.commands.options import Flat
from kaiwa.commands.stages.common import StageOptions, run_stage
from kaiwa.core.artifact import Artifact, open_artifact
from kaiwa.core.context import Context
from kaiwa.core.errors import UserError
from kaiwa.quantize.config import QuantizeConfig


@dataclass(kw_only=True)
class Options(StageOptions):
    """Convert a model to four bits per weight, and measure what that changes: kaiwa quantize MODEL --out DIR.

    Without --text and --tokens the model writes its own text for calibration and measure.
    """

    model: Path  # a name of `kaiwa models`, a folder (also of a LoRA adapter with its base) or a .gguf file
    text: Path | None = None  # text for calibration and measure: .txt, .md, or rows with a field `text`
    tokens: Path | None = None  # the same as an artifact of `kaiwa tokenizer`
    adapter: Path | None = None  # a LoRA adapter (a folder) to merge into the model before
    config: Flat[QuantizeConfig] = field(default_factory=QuantizeConfig)


def main(words: list[str]) -> None:
    """Run the stage. The model may stand first, without --model."""
    if words and not words[0].startswith("-"):
        words = ["--model", *words]
    run_stage("quantize", Options, words, run_quantize)


def run_quantize(options: Options, ctx: Context) -> Artifact:
    """Quantize the model. UserError for text of two kinds at once."""
    from kaiwa.catalog.entries import entries
    from kaiwa.catalog.trainable import as_parent
    from kaiwa.core.artifact import fingerprint
    from kaiwa.quantize.run import run

    if options.text is not None and options.tokens is not None:
        raise UserError("--text and --tokens: give one of them")
    model, adapter = options.model, options.adapter
    entry = next((e for e in entries() if e.name == str(model) and e.adapter is not None and e.base is not None), None)
    if entry is not None and entry.base is not None:
        model, adapter = entry.base.path, entry.adapter
    text = None if options.text is None else fingerprint(options.text)
    if options.tokens is not None:
        text = open_artifact(options.tokens, "tokenizer")
    return run(options.config, ctx, model=as_parent(model), text=text, adapter=adapter, out=options.out)
