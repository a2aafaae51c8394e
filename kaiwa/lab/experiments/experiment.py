"""An experiment: tasks x arms x seeds, and which arm is compared with which; everything registered before the run.

Comparisons are decided here, before the results are seen: `plan.json` is written before the first call and holds all
that decides a result: prompts as text, items with their answers, graders, arms, contrasts. A changed experiment needs
another folder. `experiment_file.py` reads experiments from TOML or Python files.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaiwa.core.artifact import write_atomic
from kaiwa.core.config import did_you_mean, differences
from kaiwa.core.errors import UserError
from kaiwa.lab.asking.budget import FREE, Prices
from kaiwa.lab.tasks.prompt import Prompt
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.techniques.technique import GREEDY, Technique
from kaiwa.text.providers import USUAL_WAYS, Provider
from kaiwa.text.sampling import Sampling

PLAN_FORMAT = 2  # of plan.json; the first held no prompts, answers and graders


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A technique under a name. `task` "": for every task. `model` "": the experiment's. `prompt`, `sampling` None: the
    task's and the experiment's.
    """

    name: str
    technique: Technique
    task: str = ""
    model: str = ""
    prompt: Prompt | None = None
    sampling: Sampling | None = None

    def own_task(self, task: Task) -> Task:
        """Return the task as this arm asks it."""
        return task if self.prompt is None else task.with_prompt(self.prompt)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelServer:
    """A model on a server of its own, by the name that arms use. model "": the name. prices None: the experiment's."""

    name: str
    model: str = ""
    url: str = ""
    api_key_env: str = ""
    provider: Provider = USUAL_WAYS
    prices: Prices | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Arm B against arm A, with the claim about B - A in words. `task` "": on every task that has both arms.

    `less`: two further arms A' and B'; the contrast is then the interaction (B - A) - (B' - A'), item by item.
    """

    a: str
    b: str
    claim: str = ""
    task: str = ""
    less: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.less) not in (0, 2):
            raise UserError(f"contrast of {self.b!r}: less has {len(self.less)} arms; an interaction takes away two")

    @property
    def arms(self) -> tuple[str, ...]:
        """The names of all arms that the contrast needs."""
        return (self.a, self.b, *self.less)

    @property
    def text(self) -> str:
        """The difference in words: "B − A", or "(B − A) − (B' − A')"."""
        plain = f"{self.b} − {self.a}"
        return f"({plain}) − ({self.less[1]} − {self.less[0]})" if self.less else plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """The registered plan. `margin` (points): a difference that would not matter. `prices`: money for a million
    tokens. `budget`: the most money and tokens (0: no limit). `servers`: of models that have one of their own.
    """

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
    prices: Prices = FREE
    budget: tuple[float, int] = (0.0, 0)
    servers: tuple[ModelServer, ...] = ()
    sampling: Sampling = GREEDY  # of every call; max_tokens are the tasks', the seed is that of `seeds`

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
            for name in contrast.arms:
                if name not in names:
                    raise UserError(f"experiment {self.name}: contrast of {name!r}{did_you_mean(name, names)}")
            if contrast.less and any(task.grader.judge for task in self.tasks):
                raise UserError(f"experiment {self.name}: an interaction needs a grader by rule, not a model")

    def arms_of(self, task: Task) -> list[Arm]:
        return [arm for arm in self.arms if arm.task in ("", task.name)]

    def contrasts_of(self, task: Task) -> list[Contrast]:
        """Return the registered contrasts of a task; where none were registered, each arm against the first."""
        arms = [arm.name for arm in self.arms_of(task)]
        if not self.contrasts:
            return [Contrast(a=arms[0], b=name, task=task.name) for name in arms[1:]]
        return [c for c in self.contrasts if c.task in ("", task.name) and set(c.arms) <= set(arms)]

    def models(self) -> list[str]:
        """Return every model in use, in the order of the arms."""
        return list(dict.fromkeys(arm.model or self.model for arm in self.arms))

    def server(self, model: str) -> ModelServer:
        """Return the server of a model by the name that arms use."""
        own = next((one for one in self.servers if one.name == model), None)
        return own or ModelServer(name=model, url=self.url, api_key_env=self.api_key_env)

    def prices_of(self, model: str) -> Prices:
        """Return the prices of a model by the name that arms use."""
        return self.server(model).prices or self.prices

    def with_first_items(self, n: int) -> Experiment:
        return dataclasses.replace(self, tasks=tuple(task.first(n) for task in self.tasks))

    def plan_json(self) -> dict[str, Any]:
        """Return the content of plan.json: everything that must not change between two starts of a run."""
        return {
            "format": PLAN_FORMAT,
            "name": self.name,
            "model": self.model,
            "url": self.url,
            "seeds": list(self.seeds),
            "margin": self.margin,
            "form": self.form,
            "tasks": [
                {
                    "name": task.name,
                    "n": len(task.items),
                    "kind": task.kind,
                    "language": task.language,
                    "max_tokens": task.max_tokens,
                    "stop": list(task.stop),
                    "prompt": dataclasses.asdict(task.prompt),
                    "grader": dataclasses.asdict(task.grader),
                    "items": {item.id: item_digest(item) for item in task.items},
                    "demonstrations": {demo.id: item_digest(demo) for demo in task.demos},
                }
                for task in self.tasks
            ],
            "arms": [
                {"name": arm.name, "task": arm.task, "technique": repr(arm.technique)}
                | ({"model": arm.model} if arm.model else {})
                | ({"prompt": dataclasses.asdict(arm.prompt)} if arm.prompt else {})
                | ({"sampling": arm.sampling.to_json()} if arm.sampling else {})
                for arm in self.arms
            ],
            "servers": [dataclasses.asdict(one) for one in self.servers],
            "contrasts": [dataclasses.asdict(c) for task in self.tasks for c in self.contrasts_of(task)],
        } | ({"sampling": self.sampling.to_json()} if self.sampling != GREEDY else {})


def item_digest(item: Item) -> str:
    """Return 12 hex digits that change with anything of the item: question, answer, choices, columns."""
    text = json.dumps(dataclasses.asdict(item), ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def register(experiment: Experiment, out: Path) -> None:
    """Write plan.json before anything is asked. UserError if the folder holds another experiment's plan."""
    plan = json.loads(json.dumps(experiment.plan_json()))
    file = out / "plan.json"
    if file.is_file():
        registered = json.loads(file.read_text(encoding="utf-8"))
        if registered.get("format") != PLAN_FORMAT:
            raise UserError(
                f"{out}: registered by an earlier kaiwa, whose plan held no prompts and answers; give another --out"
            )
        changed = differences(registered, plan)
        if changed:
            raise UserError(
                f"{out}: another experiment is registered here ({changed[0][:160]}); arms and items are fixed before"
                " the run, so give the changed one another --out"
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(file, json.dumps(plan, indent=1, ensure_ascii=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedContrast:
    """A contrast before the run: n pairs, and the smallest difference (a share) found with power 0.8."""

    task: str
    contrast: Contrast
    n: int
    detectable: float


DISCORDANT = 0.3  # decided pairs: .21 to .80 in published logs, mostly .25 to .40


def detectable_differences(experiment: Experiment, discordant: float = DISCORDANT) -> list[PlannedContrast]:
    """Return each contrast's smallest detectable difference, if the share `discordant` of its pairs is decided."""
    from kaiwa.stats.power import smallest_difference

    planned = []
    for task in experiment.tasks:
        for contrast in experiment.contrasts_of(task):
            n = len(task.items)
            pairs = n // 2 if contrast.less else n  # an interaction has twice a difference's variance
            detectable = smallest_difference(pairs, discordant) if pairs else 1.0
            planned.append(PlannedContrast(task=task.name, contrast=contrast, n=n, detectable=detectable))
    return planned
