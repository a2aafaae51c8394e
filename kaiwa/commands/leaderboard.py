"""evaluate MODEL… --tasks FILE…: models on tasks, with intervals; the results go to the leaderboard."""

from __future__ import annotations

import sys
from pathlib import Path

from kaiwa.commands.console import table
from kaiwa.core.errors import UserError
from kaiwa.core.home import home

USAGE = """usage: kaiwa evaluate MODEL… --tasks FILE… [--n N] [--out DIR]
       kaiwa evaluate --models NAME=FOLDER … --village DIR --tokens DIR --out DIR      (the stage of a build; see below)

MODEL    a name from `kaiwa models`, a model's folder, a .gguf file; several are compared on the same items
--tasks  files of tasks: .toml, .jsonl, .csv, .parquet, LOADER:FILE (gsm8k, mgsm, sst2, jcommonsenseqa,
         big-bench-hard), or built-in names (kaiwa lab tasks); see docs/evaluate.md
--n      at most so many items a task
--out    keeps every request and reply there (default: KAIWA_HOME/leaderboard/calls)

Results stay in KAIWA_HOME/leaderboard; the page /leaderboard ranks the models one has.
"""


def evaluate(words: list[str]) -> None:
    models, tasks, options = read(words)
    if not models or not tasks:
        raise UserError("models and tasks are needed: kaiwa evaluate MODEL… --tasks FILE…")
    from kaiwa.catalog.entries import find
    from kaiwa.catalog.open_model import open_entry, rest_idle_threads
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

    rest_idle_threads()
    n = _whole(options.get("n", "0"))
    found = [task for name in tasks for task in read_tasks(name, n)]
    names = [task.name for task in found]
    if len(set(names)) < len(names):
        raise UserError(f"two tasks are called {max(names, key=names.count)!r}; rename one file")
    calls = Path(options.get("out") or home() / "leaderboard" / "calls")
    entries = [find(model) for model in models]
    results = []
    for entry in entries:
        print(f"{entry.name}: {sum(len(t.items) for t in found):,} items", file=sys.stderr)
        opened = open_entry(entry)
        outcomes = run(
            evaluation_experiment(found, entry.name),
            opened.model,
            calls / "calls.jsonl",
            identity=opened.identity,
            form=opened.form,
        )
        for task in found:
            results.append(
                build_result(
                    task,
                    outcomes,
                    model=entry.name,
                    model_made=entry.created,
                    parameters=entry.parameters,
                    bits=entry.bits,
                )
            )
            write_result(home(), results[-1])
            failed = [o.error for o in outcomes if o.task == task.name and o.error]
            if failed:
                print(f"{entry.name}, {task.name}: {len(failed)} items failed; the first: {failed[0]}", file=sys.stderr)
    versions = {task.name: task_hash(task) for task in found}
    mine = [r for r in select_task_versions(results) if versions[r.task] == r.task_hash]
    print(table(ranking_rows(rank(mine)), lambda i: "<"))
    print("rank: from the models that are better for sure (95 %, the same items) to those that are worse")


def read(words: list[str]) -> tuple[list[str], list[str], dict[str, str]]:
    """Models, tasks, options: what follows --tasks up to the next option are tasks."""
    models: list[str] = []
    tasks: list[str] = []
    options: dict[str, str] = {}
    into = models
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--tasks":
            into = tasks
        elif word in ("--n", "--out"):
            if not rest:
                raise UserError(f"{word} needs a value")
            options[word[2:]] = rest.pop(0)
        elif word.startswith("--"):
            raise UserError(f"no option {word!r}; there is --tasks, --n, --out")
        else:
            into.append(word)
    return models, tasks, options


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise UserError(f"--n {text!r} is not a whole number")
    return int(text)
