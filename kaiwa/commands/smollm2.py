"""build smollm2: a real model on preferences given as files."""

from __future__ import annotations

from pathlib import Path

from kaiwa.commands.builds import read_options
from kaiwa.commands.console import make_context
from kaiwa.core.config import override
from kaiwa.core.errors import UserError

USAGE = """usage: kaiwa build smollm2 --preferences FILE[,FILE…] [--base MODEL] [--out DIR] [--FIELD VALUE …]

SmolLM2-135M-Instruct (or --base: a model's folder, a .gguf file) by low-rank changes: SFT on the better answers, a
reward model, a second one as the judge, PPO-ptx. Preferences: JSON, JSONL, .gz of {"prompt","chosen","rejected"},
{"instruction","input","chosen","rejected"}, or whole dialogues. Fields as --rlhf.updates 10,
--most 400.
"""


def smollm2(words: list[str]) -> None:
    if not words or any(word in ("-h", "--help") for word in words):
        print(USAGE, end="")
        return
    options = read_options(words)
    if "preferences" not in options:
        raise UserError("--preferences is missing; see kaiwa build smollm2 --help")
    files = [Path(name) for name in options.pop("preferences").split(",")]
    out, base = Path(options.pop("out", "runs/smollm2")), options.pop("base", "")
    try:
        threads = int(options.pop("threads", "0"))
    except ValueError:
        raise UserError("--threads needs a whole number") from None
    ctx = make_context(threads=threads, device=options.pop("device", ""))
    from kaiwa.recipes.smollm2 import SmolLM2, build, summary

    config = override(SmolLM2(), {key.replace("-", "_"): value for key, value in options.items()})
    print(summary(build(config, ctx, files, out, Path(base) if base else None)))
    print(f"report: {out / 'report.json'}; the policy's change alone: {out / 'ppo_ptx' / 'adapter'}")
