"""build, show, report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kaiwa.commands.console import clock, make_context, table
from kaiwa.core.config import override
from kaiwa.core.errors import UserError

BUILD_USAGE = """usage: kaiwa build RECIPE [--out DIR] [--seed N] [--threads N] [--device D] [--STAGE.FIELD VALUE ...]

RECIPE   tiny, laptop, laptop-ja, or a Python file with a recipe() function; smollm2 has options of its own
--out    the build's folder (default: runs/RECIPE); the same command goes on where it stopped
--device cuda, cuda:1, mps or cpu (default: KAIWA_DEVICE, else the best there is)
STAGE    village corpus tokenizer pretrain sft compare reward rlhf quantize evaluate
         kaiwa build laptop --pretrain.steps 500 --rlhf.kl-coefficient 0.05
"""


def build(words: list[str]) -> None:
    if not words or words[0] in ("-h", "--help"):
        print(BUILD_USAGE, end="")
        return
    if words[0] == "smollm2":
        from kaiwa.commands.smollm2 import smollm2

        smollm2(words[1:])
        return
    options = read_options(words[1:])
    out = Path(options.pop("out", "") or Path("runs") / Path(words[0]).stem)
    threads = _number(options.pop("threads", "0"), "threads")
    context = make_context(threads=threads, device=options.pop("device", ""))
    from kaiwa.recipes import settings as recipes

    chosen = override(recipes.find(words[0]), {key.replace("-", "_"): value for key, value in options.items()})
    _use_threads(threads)

    from kaiwa.recipe import build as run
    from kaiwa.recipes.report import read_report

    run(chosen, context, out)
    print(summary(read_report(out), out))


def read_options(words: Sequence[str]) -> dict[str, str]:
    """--name value and --name=value pairs; anything else is a UserError."""
    options: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            raise UserError(f"unexpected {word!r}; options are --NAME VALUE")
        name, equals, value = word[2:].partition("=")
        if not equals:
            if not rest:
                raise UserError(f"--{name} needs a value")
            value = rest.pop(0)
        options[name] = value
    return options


def summary(report: dict[str, Any], out: Path) -> str:
    """What each stage did, the models side by side, and where to read more."""
    stages = [["stage", "time", "what it did"]]
    for stage in report["stages"]:
        stages.append([stage["name"], clock(stage["seconds"]), _told(stage["metrics"])])
    models = [["model", "wins vs sft", "95 % interval", "helpful", "truthful", "harmless", "ended", "KL", "bits/byte"]]
    for m in report["models"]:
        win = m["win_rate_vs_sft"]
        rate = "–" if win["mean"] is None else f"{win['mean']:.0%}"
        interval = "–" if win["low"] is None else f"{win['low']:.0%} to {win['high']:.0%}"
        axes = [f"{m[axis]['mean']:.0%}" for axis in ("helpful", "truthful", "harmless")]
        numbers = [f"{m['ended']:.0%}", f"{m['kl_to_sft']:.2f}", f"{m['bits_per_byte']:.3f}"]
        models.append([m["name"], rate, interval, *axes, *numbers])
    lines = [table(stages, lambda i: ">" if i == 1 else "<"), "", table(models), ""]
    lines.append(f"built in {clock(report['seconds'])}, peak memory {report['peak_memory_bytes'] / 1e9:.2f} GB")
    lines[-1] += f"; report: {out / 'report.html'}"
    return "\n".join(lines)


def _told(metrics: dict[str, Any]) -> str:
    """The first few plain figures of a stage."""
    told = []
    for name, value in metrics.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        told.append(f"{name} {value:,}" if isinstance(value, int) else f"{name} {value:.3g}")
    return ", ".join(told[:4])


def show(words: list[str]) -> None:
    """Manifest, parents and metrics of one artifact."""
    from kaiwa.core.artifact import open_artifact

    if len(words) != 1 or words[0] in ("-h", "--help"):
        print("usage: kaiwa show ARTIFACT     (a folder that a stage published)")
        return
    artifact = open_artifact(words[0])
    manifest = artifact.manifest
    print(f"{artifact.path}: {artifact.kind}, {manifest['seconds']} s, hash {artifact.hash[:16]}")
    for name, parent in manifest["parents"].items():
        print(f"  from {name}: {parent['path']} ({parent['hash'][:16]})")
    print("config\n" + json.dumps(manifest["config"], indent=1, ensure_ascii=False))
    print("metrics\n" + json.dumps(manifest["metrics"], indent=1, ensure_ascii=False))


def report(words: list[str]) -> None:
    """Prints the table of a finished build and writes its report.html again."""
    from kaiwa.recipes.report import read_report, write_html

    if len(words) != 1 or words[0] in ("-h", "--help"):
        print("usage: kaiwa report DIR     (the folder of a finished build)")
        return
    folder = Path(words[0])
    value = read_report(folder)
    write_html(folder)
    print(summary(value, folder))


def _number(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UserError(f"--{name} {text!r} is not a whole number") from None


def _use_threads(threads: int) -> None:
    """torch reads OMP_NUM_THREADS when it is first imported, which may have happened."""
    if threads:
        import torch

        torch.set_num_threads(threads)
