"""The progress of a build that runs as a child process, followed through its status file."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaiwa.commands.console import Bar
from kaiwa.core.context import Progress

if TYPE_CHECKING:
    from kaiwa.serve.tuning.builds import BuildJobs

LOOK_SECONDS = 0.5


def follow_build(jobs: BuildJobs, run: str, folder: Path) -> None:
    """Show the progress of a build until its end, then its summary or error.

    A terminal shows a bar per stage; a log gets a line at the start, at each quarter and at the end of a stage.
    """
    bar = Bar()
    printed: set[str] = set()
    while True:
        job = jobs.get(run)
        for stage in job.status["stages"]:
            if stage["state"] == "done" and stage["name"] not in printed:
                printed.add(stage["name"])
                bar.say(f"{stage['name']:<10} done in {stage['seconds']:.0f} s")
            if stage["state"] != "running":
                continue
            seconds_left = job.status.get("seconds_left")
            if bar.live:
                bar.show(stage_progress(stage, seconds_left))
            elif (quarter := f"{stage['name']} {_quarter(stage)}") not in printed:
                printed.add(quarter)
                bar.say(stage_text(stage, seconds_left))
        if job.status["state"] != "running":
            break
        time.sleep(LOOK_SECONDS)
    state = job.status["state"]
    if state == "finished":
        from kaiwa.commands.report import summary
        from kaiwa.recipes.report import read_report

        bar.say(summary(read_report(folder), folder))
    else:
        why = job.status.get("error") or "the same command continues the build"
        bar.say(f"the build of {run} is {state}: {why}")


def _quarter(stage: Mapping[str, Any]) -> int:
    return int(4 * stage["done"] / stage["total"]) if stage["total"] else 0


def stage_text(stage: Mapping[str, Any], build_left: float | None) -> str:
    """Return the state of a running stage as a line for a log. build_left: seconds to the end of the build."""
    if _quarter(stage) == 0:
        return f"{stage['name']:<10} begins" + (
            "" if build_left is None else f"; the build has {_minutes(build_left)} left"
        )
    time_left = "" if stage["seconds_left"] is None else f", {_minutes(stage['seconds_left'])} left"
    return f"{stage['name']:<10} {25 * _quarter(stage)} %{time_left}"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"


def stage_progress(stage: Mapping[str, Any], build_left: float | None) -> Progress:
    """Return a running stage's row of status.json as a Progress for the terminal's bar."""
    return Progress(
        stage["name"], stage["done"], stage["total"], stage["text"], stage["tokens_per_second"] or 0.0, build_left
    )
