"""kaiwa redteam lessons: dialogues that teach a small model to use its system prompt."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from kaiwa.commands.options import read_options
from kaiwa.core.errors import UserError


@dataclass(kw_only=True)
class Options:
    """Write dialogues that teach a small model to use its system prompt, as demonstrations.

    Train on them with kaiwa sft --base MODEL --demonstrations FILE.jsonl.
    """

    out: Path  # FILE.jsonl
    language: str = "en"  # en or ja
    n: int = 24000  # number of dialogues
    seed: int = 0
    mix: Path | None = None  # demonstrations of the model's first training, to keep its knowledge


def main(words: list[str]) -> None:
    """Write the dialogues."""
    options = read_options(Options, "kaiwa redteam lessons", words)
    from kaiwa.core.artifact import write_atomic
    from kaiwa.redteam.lessons import WORDINGS, generate_lessons
    from kaiwa.text.records import read_jsonl

    language, n = options.language, options.n
    if language not in WORDINGS or n < 1:
        raise UserError(f"--language {language} --n {n}: give one of {', '.join(WORDINGS)}, and at least 1")
    mix = [row for row in read_jsonl(options.mix) if "messages" in row] if options.mix is not None else []
    rows = (json.dumps(row, ensure_ascii=False) for row in generate_lessons(n, options.seed, language, mix))
    write_atomic(options.out, "\n".join(rows) + "\n")
    print(f"{n} dialogues: {options.out}")
