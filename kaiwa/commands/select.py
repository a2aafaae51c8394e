"""select: the checkpoint whose replies a reward model likes best."""

from __future__ import annotations

from pathlib import Path

from kaiwa.commands.console import make_context, table
from kaiwa.commands.talk import read_words
from kaiwa.core.errors import UserError

USAGE = """usage: kaiwa select MODEL… --reward DIR --prompts FILE [--n N] [--max-tokens N] [--seed S] [--threads N]
                          [--device D]

Each model (a folder; of a stage with epochs/ or updates/, each of those too) answers the same prompts; the reward model
scores the replies, and the best model stands first. InstructGPT chose its SFT model so.
"""


def select(words: list[str]) -> None:
    if not words or any(word in ("-h", "--help") for word in words):
        print(USAGE, end="")
        return
    kinds: dict[str, type] = {
        "reward": str, "prompts": str, "n": int, "max-tokens": int, "seed": int, "threads": int, "device": str
    }  # fmt: skip
    folders, options = read_words(words, kinds, ())
    for needed in ("reward", "prompts"):
        if needed not in options:
            raise UserError(f"--{needed} is missing; see kaiwa select --help")
    models = {name: path for folder in folders for name, path in _inside(Path(folder)).items()}
    if not models:
        raise UserError("no model named; see kaiwa select --help")
    ctx = make_context(seed=options.get("seed", 0), threads=options.get("threads", 0), device=options.get("device", ""))
    from kaiwa.core.artifact import open_artifact
    from kaiwa.evaluate.select import select as run

    reward, prompts = open_artifact(options["reward"], "reward"), Path(options["prompts"])
    limits = {"most": options.get("n", 200), "max_tokens": options.get("max-tokens", 48)}
    found = run(models, ctx, reward=reward, prompts=prompts, **limits)
    rows = [["model", "score", "95 % interval", "ended", "tokens"]]
    for one in found:
        ends = f"{one.score.low:.3f} to {one.score.high:.3f}"
        rows.append([one.name, f"{one.score.mean:.3f}", ends, f"{one.ended:.0%}", f"{one.tokens:.1f}"])
    print(table(rows))


def _inside(folder: Path) -> dict[str, Path]:
    """The folder's model, and those of its epochs or updates."""
    found = [folder, *sorted(folder.glob("epochs/*")), *sorted(folder.glob("updates/*"))]
    return {str(path): path for path in found}
