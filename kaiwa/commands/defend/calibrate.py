"""kaiwa defend calibrate: thresholds from benign texts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kaiwa.commands.defend.defence_options import DefenceOptions, benign_texts, make_stack, read_defence
from kaiwa.commands.options import read_options
from kaiwa.core.errors import UserError


@dataclass(kw_only=True)
class Options(DefenceOptions):
    """Print thresholds for which at most a share of benign texts is refused, as lines for the defence's file."""

    benign: Path | None = None  # a text file, one text per line, or JSONL with "text" or "messages"
    false_block: float = 0.05  # largest share of benign texts that may be refused


def main(words: list[str]) -> None:
    """Measure the texts and print the thresholds."""
    options = read_options(Options, "kaiwa defend calibrate", words)
    if options.benign is None:
        raise UserError("--benign TEXTS is needed: texts such as users will send")
    from kaiwa.defend.calibrate import HasThreshold, calibrate
    from kaiwa.defend.parse import read_parts

    texts = benign_texts(options.benign)
    described = read_defence(options.defence)
    stack = make_stack(described, options)
    names = [part for part, _ in read_parts(described.defence, options.defence)]
    if not any(isinstance(part, HasThreshold) for part in stack.parts):
        raise UserError(f"{options.defence}: no part has a threshold; detector, perplexity and similarity have")
    for name, part in zip(names, calibrate(stack, texts, options.false_block).parts, strict=True):
        if isinstance(part, HasThreshold):
            print(f"[{name}]\nthreshold = {part.threshold!r}")
