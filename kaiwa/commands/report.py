"""kaiwa report: the table of a finished build, and a new report.html."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from kaiwa.commands.console import clock, table
from kaiwa.commands.options import Positional, arg, read_options

MOST_FIGURES = 4  # per stage


@dataclass(kw_only=True)
class Options:
    """Print the table of a finished build and write its report.html again."""

    build: Positional[Annotated[Path, arg(metavar="BUILD")]]  # the folder of a finished build, such as runs/laptop


def main(words: list[str]) -> None:
    """Print the summary and write the report."""
    folder = read_options(Options, "kaiwa report", words).build
    from kaiwa.recipes.report import read_report, write_html

    report = read_report(folder)
    write_html(folder)
    print(summary(report, folder))


def summary(report: dict[str, Any], out: Path) -> str:
    """Return the summary of a build: a table of stages, a table of models, and the path of the report."""
    stages = [["stage", "time", "what it did"]]
    for stage in report["stages"]:
        stages.append([stage["name"], clock(stage["seconds"]), _figures(stage["metrics"])])
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


def _figures(metrics: dict[str, Any]) -> str:
    """Return the first MOST_FIGURES numbers among a stage's metrics."""
    numbers = {
        name: value for name, value in metrics.items() if isinstance(value, int | float) and not isinstance(value, bool)
    }
    first = list(numbers.items())[:MOST_FIGURES]
    return ", ".join(f"{name} {value:,}" if isinstance(value, int) else f"{name} {value:.3g}" for name, value in first)
