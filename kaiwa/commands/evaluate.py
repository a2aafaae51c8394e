"""kaiwa evaluate: evaluation of models on tasks, for the leaderboard; and the last stage of a build."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from kaiwa.commands.console import table
from kaiwa.commands.options import HELP, Flat, Positional, arg, read_options
from kaiwa.commands.stages.common import DeviceOptions, run_stage
from kaiwa.core.artifact import Artifact, open_artifact
from kaiwa.core.context import Context
from kaiwa.core.errors import UserError
from kaiwa.core.home import home
from kaiwa.evaluate.config import EvaluateConfig


@dataclass(kw_only=True)
class Options:
    """Evaluate models on tasks, with intervals: kaiwa evaluate MODEL… --tasks FILE…

    MODEL is a name from `kaiwa models`, a model's folder or a .gguf file; several models are compared on the same
    items. Results are stored in KAIWA_HOME/leaderboard; the page /leaderboard ranks the models.
    """

    models: Positional[Annotated[tuple[str, ...], arg(metavar="MODEL…")]] = ()
    # .toml, .jsonl, .csv, .parquet, LOADER:FILE (gsm8k, mgsm, sst2, jcommonsenseqa, big-bench-hard), or built-in names
    # (kaiwa lab tasks); see docs/evaluate.md
    tasks: tuple[str, ...] = ()
    n: int = 0  # largest number of items per task (0: all)
    out: Path | None = None  # folder for all requests and replies (default: KAIWA_HOME/leaderboard/calls)


@dataclass(kw_only=True)
class BuildOptions(DeviceOptions):
    """Run the stage of a build: models (NAME=FOLDER …) on the village's held-out prompts, against the baseline."""

    models: tuple[str, ...]
    village: Path
    tokens: Path
    config: Flat[EvaluateConfig] = field(default_factory=EvaluateConfig)


def main(words: list[str]) -> None:
    """Evaluate on tasks if --tasks is given, else run the stage of a build. The help shows both."""
    if "--tasks" in words:
        evaluate_tasks(read_options(Options, "kaiwa evaluate", words))
        return
    if not words or words[0] in HELP:
        try:
            read_options(Options, "kaiwa evaluate", ["--help"])
        except SystemExit:
            print()
    run_stage("evaluate", BuildOptions, words or ["--help"], run_evaluate)


def run_evaluate(options: BuildOptions, ctx: Context) -> Artifact:
    """Evaluate models of a build on its village."""
    from kaiwa.evaluate.run import run

    models: dict[str, Artifact] = {}
    for text in options.models:
        name, _, folder = text.rpartition("=")
        models[name or Path(folder).name] = open_artifact(folder)
    village, tokens = open_artifact(options.village, "village"), open_artifact(options.tokens, "tokenizer")
    return run(options.config, ctx, models=models, village=village, tokens=tokens, out=options.out)


def evaluate_tasks(options: Options) -> None:
    """Answer the tasks with each model, store the results for the leaderboard and print the ranking."""
    if not options.models or not options.tasks:
        raise UserError("models and tasks are needed: kaiwa evaluate MODEL… --tasks FILE…")
    from kaiwa.catalog.entries import entry_by_name_or_path
    from kaiwa.catalog.open_model import open_entry, rest_idle_threads
    from kaiwa.lab.experiments.baselines import baselines_text, task_baselines
    from kaiwa.lab.experiments.leaderboard import (
        build_result,
        evaluation_experiment,
        rank,
        ranking_rows,
        select_task_versions,
        task_hash,
        write_result,
    )
    from kaiwa.lab.experiments.run import run
    from kaiwa.lab.experiments.task_files import read_tasks

    if options.n < 0:
        raise UserError(f"--n {options.n} is not a number of items; give 1 or more (0: all)")
    tasks = [task for name in options.tasks for task in read_tasks(name, options.n)]
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        raise UserError(f"two tasks are called {max(names, key=names.count)!r}; rename one file")
    rest_idle_threads()
    calls = options.out or home() / "leaderboard" / "calls"
    entries = [entry_by_name_or_path(model) for model in options.models]
    results = []
    for entry in entries:
        print(f"{entry.name}: {sum(len(t.items) for t in tasks):,} items", file=sys.stderr)
        opened, experiment = open_entry(entry), evaluation_experiment(tasks, entry.name)
        outcomes = run(experiment, opened.model, calls / "calls.jsonl", identity=opened.identity, form=opened.form)
        for task in tasks:
            results.append(
                build_result(
                    task, outcomes, model=entry.name, model_made=entry.created, parameters=entry.parameters,
                    bits=entry.bits,
                )
            )  # fmt: skip
            write_result(home(), results[-1])
            failed = [o.error for o in outcomes if o.task == task.name and o.error]
            if failed:
                print(f"{entry.name}, {task.name}: {len(failed)} items failed; the first: {failed[0]}", file=sys.stderr)
    versions = {task.name: task_hash(task) for task in tasks}
    current = [r for r in select_task_versions(results) if versions[r.task] == r.task_hash]
    print(table(ranking_rows(rank(current)), lambda i: "<"))
    for task in tasks:
        print(baselines_text(task_baselines(task)))
    print("rank: best and worst rank that the paired comparisons on the same items (95 %) allow")
