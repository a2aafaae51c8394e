"""An experiment: tasks x arms x seeds, and which arm is compared with which; all of it registered before the run.

What is compared is decided here and not after looking: `plan.json` is written before the first call, and a changed
experiment needs another folder. From a TOML file or a Python file with `experiment() -> Experiment`.
"""

from __future__ import annotations

import dataclasses
import json
import runpy
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.lab.loaders import load
from kaiwa.lab.prompt_file import from_values, read_prompt
from kaiwa.lab.task import Grader, Task
from kaiwa.lab.tasks import from_file, generated
from kaiwa.lab.techniques.base import Technique
from kaiwa.lab.techniques.named import technique

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
    "prices",
)
FILE_FIELDS = (
    *("file", "loader", "prompt", "answer", "id", "input", "choices", "cluster", "kind", "grader", "n_demos"),
    *("max_tokens", "language", "name", "n"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """`task` "": of every task. `model` "": the experiment's."""

    name: str
    technique: Technique
    task: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """B - A, and what is claimed of it in words."""

    a: str
    b: str
    claim: str = ""
    task: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """`margin` (points): what does not matter. `prices`: money for a million prompt and answer tokens."""

    name: str
    tasks: tuple[Task, ...]
    arms: tuple[Arm, ...]
    contrasts: tuple[Contrast, ...] = ()
    model: str = ""
    url: str = ""
    api_key_env: str = ""
    seeds: tuple[int, ...] = (0,)
    margin: float = 5.0
    form: str = ""  # "": chat for a model that has learnt to, else text
    prices: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if not self.tasks or not self.arms or not self.seeds:
            raise UserError(f"experiment {self.name}: at least one task, one arm and one seed are needed")
        for task in self.tasks:
            names = [arm.name for arm in self.arms_of(task)]
            for name in names:
                if names.count(name) > 1:
                    raise UserError(f"experiment {self.name}: the arm {name!r} occurs twice for {task.name}")
        names = [arm.name for arm in self.arms]
        for contrast in self.contrasts:
            for name in (contrast.a, contrast.b):
                if name not in names:
                    raise UserError(f"experiment {self.name}: contrast of {name!r}{did_you_mean(name, names)}")

    def arms_of(self, task: Task) -> list[Arm]:
        return [arm for arm in self.arms if arm.task in ("", task.name)]

    def contrasts_of(self, task: Task) -> list[Contrast]:
        """The registered ones; without any, each arm against the first."""
        arms = [arm.name for arm in self.arms_of(task)]
        if not self.contrasts:
            return [Contrast(a=arms[0], b=name, task=task.name) for name in arms[1:]]
        return [c for c in self.contrasts if c.task in ("", task.name) and c.a in arms and c.b in arms]

    def models(self) -> list[str]:
        """Every model that is asked, in the order of the arms."""
        return list(dict.fromkeys(arm.model or self.model for arm in self.arms))

    def with_first(self, n: int) -> Experiment:
        return dataclasses.replace(self, tasks=tuple(task.first(n) for task in self.tasks))

    def registered(self) -> dict[str, Any]:
        """What must not change between two starts of a run."""
        return {
            "name": self.name,
            "model": self.model,
            "url": self.url,
            "seeds": list(self.seeds),
            "margin": self.margin,
            "form": self.form,
            "tasks": [
                {"name": task.name, "n": len(task.items), "ids": [item.id for item in task.items]}
                for task in self.tasks
            ],
            "arms": [
                {"name": arm.name, "task": arm.task, "technique": repr(arm.technique)}
                | ({"model": arm.model} if arm.model else {})
                for arm in self.arms
            ],
            "contrasts": [dataclasses.asdict(c) for task in self.tasks for c in self.contrasts_of(task)],
        }


def read_experiment(path: Path) -> Experiment:
    """A .toml or .py file."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; give an experiment as .toml or .py (docs/lab.md)")
    if path.suffix == ".py":
        made = runpy.run_path(str(path)).get("experiment")
        if not callable(made):
            raise UserError(f"{path}: no function experiment() in it")
        found = made()
        if not isinstance(found, Experiment):
            raise UserError(f"{path}: experiment() must return kaiwa.lab.experiment.Experiment")
        return found
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not TOML ({error})") from None
    return from_toml_values(values, path)


def from_toml_values(values: Mapping[str, Any], path: Path) -> Experiment:
    for name in values:
        if name not in FIELDS:
            raise UserError(f"{path}: an experiment has no {name!r}{did_you_mean(name, FIELDS)}")
    n = int(values.get("n", 100))
    tasks = tuple(_task(row, n, path) for row in values.get("tasks", ()))
    arms: list[Arm] = []
    contrasts = [_contrast(row, path) for row in values.get("contrasts", ())]
    for row in values.get("arms", ()):
        options = {k: v for k, v in row.items() if k not in ("name", "controls", "task")}
        made = technique(options, f"{path}, arm {row.get('name', len(arms) + 1)}")
        name, task = row.get("name", made.name), row.get("task", "")
        arms.append(Arm(name=name, technique=made, task=task))
        if row.get("controls"):
            arms += [Arm(name=f"{name}: {c}", technique=arm, task=task) for c, arm in made.controls().items()]
    if any(row.get("controls") for row in values.get("arms", ())) and not contrasts:
        contrasts = _with_controls(arms)
    models = tuple(map(str, values.get("models", ())))
    if len(models) > 1:
        arms, contrasts = side_by_side(arms, contrasts, models)
    prices = values.get("prices", {})
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
        prices=(float(prices.get("prompt", 0.0)), float(prices.get("answer", 0.0))),
    )


def side_by_side(
    arms: list[Arm], contrasts: list[Contrast], models: tuple[str, ...]
) -> tuple[list[Arm], list[Contrast]]:
    """Every arm on every model, as "arm @ model". Compared: within each model what was registered (without any, each
    arm against the first), and each arm on every further model against the same arm on the first."""
    if len(set(models)) < len(models):
        raise UserError(f"models: {', '.join(models)} has one twice")
    made = [dataclasses.replace(arm, name=f"{arm.name} @ {model}", model=model) for model in models for arm in arms]
    given = contrasts or [Contrast(a=arms[0].name, b=arm.name, task=arm.task) for arm in arms[1:]]
    found = [
        dataclasses.replace(c, a=f"{c.a} @ {model}", b=f"{c.b} @ {model}")
        for model in models
        for c in given
        if "@" not in c.a + c.b
    ]
    found += [c for c in given if "@" in c.a + c.b]
    across = [
        Contrast(a=f"{arm.name} @ {models[0]}", b=f"{arm.name} @ {model}", task=arm.task)
        for model in models[1:]
        for arm in arms
    ]
    return made, found + across


def _with_controls(arms: list[Arm]) -> list[Contrast]:
    """Each arm against the first, and against its own controls."""
    main = [arm.name for arm in arms if ": " not in arm.name]
    found = [Contrast(a=main[0], b=name) for name in main[1:]]
    return found + [Contrast(a=arm.name, b=arm.name.split(": ")[0]) for arm in arms if ": " in arm.name]


def _contrast(row: Mapping[str, Any], path: Path) -> Contrast:
    try:
        return Contrast(**row)
    except TypeError:
        raise UserError(f"{path}: a contrast has a, b and perhaps claim and task, got {', '.join(row)}") from None


def _task(row: Mapping[str, Any], n: int, path: Path) -> Task:
    for name in row:
        if name not in FILE_FIELDS:
            raise UserError(f"{path}: a task has no {name!r}{did_you_mean(name, FILE_FIELDS)}")
    n = int(row.get("n", n))
    if "file" not in row:
        made = generated(str(row.get("name", "")), n)
        return made.with_prompt(_read_prompt(row["prompt"], path)) if "prompt" in row else made
    file = path.parent / str(row["file"])
    if "loader" in row:
        made = load(row["loader"], file, n)
        return made.with_prompt(_read_prompt(row["prompt"], path)) if "prompt" in row else made
    options = {k: v for k, v in row.items() if k not in ("file", "name", "prompt", "grader", "n", "choices")}
    grader = Grader(**row["grader"]) if "grader" in row else None
    made = from_file(
        file,
        prompt=_read_prompt(row.get("prompt", {}), path),
        grader=grader,
        n=n,
        choices=tuple(row.get("choices", ())),
        **options,
    )
    return dataclasses.replace(made, name=row.get("name", made.name))


def _read_prompt(value: Any, path: Path) -> Any:
    return read_prompt(path.parent / value) if isinstance(value, str) else from_values(dict(value), str(path))


def register(experiment: Experiment, out: Path) -> None:
    """Writes the plan before anything is asked; UserError if the folder holds another one."""
    from kaiwa.core.artifact import write_atomic
    from kaiwa.core.config import differences

    plan = json.loads(json.dumps(experiment.registered()))
    file = out / "plan.json"
    if file.is_file():
        changed = differences(json.loads(file.read_text(encoding="utf-8")), plan)
        if changed:
            raise UserError(
                f"{out}: another experiment is registered here ({changed[0][:160]}); arms and items are fixed before"
                " the run, so give the changed one another --out"
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(file, json.dumps(plan, indent=1, ensure_ascii=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A contrast before the run: n pairs, and the smallest difference that they find with power 0.8."""

    task: str
    contrast: Contrast
    n: int
    detectable: float


DISCORDANT = 0.3  # decided pairs: .21 to .80 in published logs, mostly .25 to .40


def plan(experiment: Experiment, discordant: float = DISCORDANT) -> list[Planned]:
    from kaiwa.stats.power import smallest_difference

    return [
        Planned(
            task=task.name, contrast=c, n=len(task.items), detectable=smallest_difference(len(task.items), discordant)
        )
        for task in experiment.tasks
        for c in experiment.contrasts_of(task)
    ]
