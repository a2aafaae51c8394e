"""An experiment in a file: TOML (docs/lab.md), or Python with `experiment() -> Experiment`."""

from __future__ import annotations

import dataclasses
import runpy
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.lab.asking.budget import Prices
from kaiwa.lab.experiments.arms_file import prompt_from_value, read_arms, read_sampling, spread_over_models
from kaiwa.lab.experiments.experiment import Experiment, ModelServer
from kaiwa.lab.grading.assertions import check_types
from kaiwa.lab.grading.graders import ASSERTIONS, GRADERS
from kaiwa.lab.tasks.benchmarks import load_benchmark
from kaiwa.lab.tasks.by_name import generate_task, task_from_file
from kaiwa.lab.tasks.rows import read_text
from kaiwa.lab.tasks.task import JUDGED, Assertion, Grader, Judge, Task
from kaiwa.lab.techniques.technique import GREEDY
from kaiwa.text.providers import Provider

FIELDS = (
    "name",
    "model",
    "models",
    "url",
    "api_key_env",
    "n",
    "seeds",
    "margin",
    "form",
    "tasks",
    "arms",
    "contrasts",
    "prompts",
    "budget",
    "prices",
    "sampling",
)
FILE_FIELDS = (
    *("file", "loader", "prompt", "answer", "id", "input", "choices", "cluster", "kind", "grader", "n_demos"),
    *("max_tokens", "language", "name", "n"),
)


def read_experiment(path: Path) -> Experiment:
    """Read a .toml or .py file. UserError names the file and the mistake."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; give an experiment as .toml or .py (docs/lab.md)")
    if path.suffix == ".py":
        make_experiment = runpy.run_path(str(path)).get("experiment")
        if not callable(make_experiment):
            raise UserError(f"{path}: no function experiment() in it")
        experiment = make_experiment()
        if not isinstance(experiment, Experiment):
            raise UserError(f"{path}: experiment() must return kaiwa.lab.experiments.experiment.Experiment")
        return experiment
    try:
        values = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not TOML ({error})") from None
    return experiment_from_toml(values, path)


def experiment_from_toml(values: Mapping[str, Any], path: Path) -> Experiment:
    """Build an experiment from the values of a TOML file; other files are looked for beside `path`."""
    for name in values:
        if name not in FIELDS:
            raise UserError(f"{path}: an experiment has no {name!r}{did_you_mean(name, FIELDS)}")
    n = int(values.get("n", 100))
    tasks = tuple(_task(row, n, path) for row in values.get("tasks", ()))
    arms, contrasts = read_arms(values, path)
    servers = tuple(_server(row, path) for row in values.get("models", ()) if isinstance(row, Mapping))
    models = tuple(str(row["name"] if isinstance(row, Mapping) else row) for row in values.get("models", ()))
    if len(models) > 1:
        arms, contrasts = spread_over_models(arms, contrasts, models)
    return Experiment(
        name=values.get("name", path.stem),
        tasks=tasks,
        arms=tuple(arms),
        contrasts=tuple(contrasts),
        model=values.get("model", models[0] if models else ""),
        url=values.get("url", ""),
        api_key_env=values.get("api_key_env", ""),
        seeds=tuple(values.get("seeds", (0,))),
        margin=float(values.get("margin", 5.0)),
        form=values.get("form", ""),
        sampling=read_sampling(GREEDY, values.get("sampling", {}), f"{path}, sampling"),
        prices=_prices(values.get("prices", {}), path),
        budget=_budget(values.get("budget", {}), path),
        servers=servers,
    )


MODEL_FIELDS = (
    *("name", "model", "url", "api_key_env", "protocol", "parameters", "headers", "body", "timeout", "retries"),
    "prices",
)


def _server(row: Mapping[str, Any], path: Path) -> ModelServer:
    """Read one of [[models]]."""
    for field in row:
        if field not in MODEL_FIELDS:
            raise UserError(f"{path}: a model has no {field!r}{did_you_mean(field, MODEL_FIELDS)}")
    if not row.get("name"):
        raise UserError(f"{path}: each of [[models]] needs a name")
    ways = {
        name: row[name] for name in ("protocol", "parameters", "headers", "body", "timeout", "retries") if name in row
    }
    return ModelServer(
        name=str(row["name"]),
        model=str(row.get("model", row["name"])),
        url=str(row.get("url", "")),
        api_key_env=str(row.get("api_key_env", "")),
        provider=Provider(**ways),
        prices=_prices(row["prices"], path) if "prices" in row else None,
    )


def _prices(row: Mapping[str, Any], path: Path) -> Prices:
    names = ("prompt", "answer", "cached")
    for field in row:
        if field not in names:
            raise UserError(f"{path}: prices have no {field!r}{did_you_mean(field, names)}")
    return Prices(**{name: float(row[name]) for name in names if name in row})


def _budget(row: Mapping[str, Any], path: Path) -> tuple[float, int]:
    """Read {money, tokens}; a limit that is given must be above 0."""
    for field, value in row.items():
        if field not in ("money", "tokens"):
            raise UserError(f"{path}: a budget has money and tokens, not {field!r}")
        if not value > 0:
            raise UserError(f"{path}: budget {field} = {value}: above 0, else nothing is asked")
    return float(row.get("money", 0.0)), int(row.get("tokens", 0))


def _task(row: Mapping[str, Any], n: int, path: Path) -> Task:
    for name in row:
        if name not in FILE_FIELDS:
            raise UserError(f"{path}: a task has no {name!r}{did_you_mean(name, FILE_FIELDS)}")
    n = int(row.get("n", n))
    grader = _grader(row["grader"], path) if "grader" in row else None
    if "file" not in row:
        return _with_overrides(generate_task(str(row.get("name", "")), n), row, grader, path)
    file = path.parent / str(row["file"])
    if "loader" in row:
        return _with_overrides(load_benchmark(row["loader"], file, n), row, grader, path)
    options = {k: v for k, v in row.items() if k not in ("file", "name", "prompt", "grader", "n", "choices")}
    task = task_from_file(
        file,
        prompt=prompt_from_value(row.get("prompt", {}), path),
        grader=grader,
        n=n,
        choices=tuple(row.get("choices", ())),
        **options,
    )
    return dataclasses.replace(task, name=row.get("name", task.name))


def _with_overrides(task: Task, row: Mapping[str, Any], grader: Grader | None, path: Path) -> Task:
    """Return a built-in or loaded task with the prompt, kind and grader from the file."""
    if "prompt" in row:
        task = task.with_prompt(prompt_from_value(row["prompt"], path))
    kind = str(row.get("kind", task.kind))
    return dataclasses.replace(task, kind=kind, grader=grader or task.grader)


def _grader(row: Mapping[str, Any], path: Path) -> Grader:
    """Read a grader by name; a model as grader has the judge's fields beside the name."""
    judge_fields = [f.name for f in dataclasses.fields(Judge)]
    known = [f.name for f in dataclasses.fields(Grader) if f.name != "judge"]
    name = row.get("name", "exact")
    for field in row:
        if field not in (*known, *(judge_fields if name in JUDGED else ())):
            hint = did_you_mean(field, [*known, *judge_fields])
            raise UserError(f"{path}: the grader {name!r} has no {field!r}{hint}")
    if name == ASSERTIONS:
        return Grader(name=name, assertions=_assertions(row.get("assertions", ()), path))
    if name not in JUDGED:
        if name not in GRADERS:
            raise UserError(f"{path}: no grader {name!r}{did_you_mean(str(name), [*GRADERS, ASSERTIONS, *JUDGED])}")
        return Grader(**row)
    if not row.get("model"):
        raise UserError(f"{path}: the grader {name!r} needs model = the name of the model that judges")
    judge_options = {field: str(row[field]) for field in judge_fields if field in row}
    if "labels" in judge_options:
        judge_options["labels"] = str(path.parent / judge_options["labels"])
    return Grader(name=name, judge=Judge(**judge_options))


def _assertions(rows: Any, path: Path) -> tuple[Assertion, ...]:
    """Read a grader's assertions; a Python file is looked for beside `path`."""
    assertions: list[Assertion] = []
    for i, row in enumerate(rows):
        if not isinstance(row, Mapping) or not set(row) <= {"type", "value"} or "type" not in row:
            raise UserError(f"{path}: assertion {i + 1} has a type and perhaps a value, and nothing else")
        value = row.get("value", "")
        type = str(row["type"])
        assertions.append(Assertion(type=type, value=str(path.parent / value) if type.endswith("python") else value))
    check_types(tuple(assertions), str(path))
    return tuple(assertions)
