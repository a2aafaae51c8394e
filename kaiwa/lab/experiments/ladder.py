"""The ladder: zero-shot, few-shot, soft prompt, fine-tune, on one task; the gain and the cost of each rung.

The first two rungs only ask; the last two are trained by the fine-tuning API on examples that share no input with the
items that are graded. The plan is registered before anything is asked or trained.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kaiwa.core.artifact import write_atomic
from kaiwa.core.errors import UserError
from kaiwa.lab.experiments.analysis import Analysis, analyse
from kaiwa.lab.experiments.experiment import Arm, Contrast, Experiment, register
from kaiwa.lab.experiments.run import run_models
from kaiwa.lab.experiments.training_api import TrainedModel, TrainingServer, training_rows
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.techniques.shots import FewShot, ZeroShot
from kaiwa.text.chat_model import OpenedModel

ZERO, FEW, SOFT, TUNED = "zero-shot", "few-shot", "soft prompt", "fine-tuned"
METHODS = {SOFT: "soft_prompt", TUNED: "supervised"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One rung's accuracy with its interval, prompt tokens per answer, the training's duration, and the money for
    training and for a thousand answers.
    """

    name: str
    accuracy: float
    low: float
    high: float
    prompt_tokens: float
    trained_tokens: int
    minutes: float
    training_cost: float
    cost_per_thousand: float


def split_task(task: Task, n: int, n_train: int) -> tuple[Task, list[Item]]:
    """Return the task with its first n items, and n_train items to train on, with other inputs.

    UserError where too few items differ from the graded items.
    """
    graded = task.first(n)
    used_inputs = {item.input for item in (*graded.items, *task.demos)}
    training: list[Item] = []
    for item in task.items[n:]:
        if item.input not in used_inputs and len(training) < n_train:
            used_inputs.add(item.input)
            training.append(item)
    if len(training) < n_train:
        raise UserError(
            f"task {task.name}: {len(training)} of {n_train} training examples differ from the {n} graded items; "
            "lower --train or --n"
        )
    return graded, training


def ladder_experiment(task: Task, model: str, k: int) -> Experiment:
    """Build the four arms and their contrasts; the trained rungs are asked without examples."""
    zero = ZeroShot()
    arms = (
        Arm(name=ZERO, technique=zero),
        Arm(name=FEW, technique=FewShot(k=k)),
        Arm(name=SOFT, technique=zero, model=SOFT),
        Arm(name=TUNED, technique=zero, model=TUNED),
    )
    contrasts = (
        Contrast(a=ZERO, b=FEW, claim=f"{k} demonstrations help"),
        Contrast(a=ZERO, b=SOFT, claim="a learned prompt helps"),
        Contrast(a=ZERO, b=TUNED, claim="training helps"),
        Contrast(a=FEW, b=TUNED, claim="training beats demonstrations"),
        Contrast(a=SOFT, b=TUNED, claim="all weights beat a learned prompt"),
    )
    return Experiment(name="ladder", tasks=(task,), arms=arms, contrasts=contrasts, model=model)


def run_ladder(
    task: Task,
    training: list[Item],
    model: str,
    server: TrainingServer,
    *,
    open_model: Callable[[str], OpenedModel],
    out: Path,
    k: int = 8,
    seed: int = 0,
    hyperparameters: Mapping[str, Mapping[str, Any]] | None = None,
    per_hour: float = 0.0,
    show: Callable[[str], None] = lambda line: None,
) -> tuple[Analysis, list[Rung]]:
    """Register the experiment, train the models that out/trained.json does not name yet, ask all rungs, and write
    out/ladder.json.

    `open_model`: by a server's name. `per_hour`: the machine's price.
    """
    experiment = ladder_experiment(task, model, k)
    register(experiment, out)
    trained: dict[str, TrainedModel] = {}
    for name, method in METHODS.items():
        options = (hyperparameters or {}).get(method, {})
        trained[name] = _train(
            server,
            task,
            training=training,
            model=model,
            method=method,
            hyperparameters=options,
            seed=seed,
            out=out,
            show=show,
        )
    names = {SOFT: trained[SOFT].model, TUNED: trained[TUNED].model}
    outcomes = run_models(experiment, lambda name: open_model(names.get(name, name)), out / "calls.jsonl")
    analysis = analyse(experiment, outcomes, model)
    rungs = [build_rung(analysis, arm.name, trained.get(arm.name), per_hour) for arm in experiment.arms]
    write_atomic(out / "ladder.json", json.dumps([asdict(r) for r in rungs], indent=1))
    return analysis, rungs


def _train(
    server: TrainingServer,
    task: Task,
    *,
    training: list[Item],
    model: str,
    method: str,
    hyperparameters: Mapping[str, Any],
    seed: int,
    out: Path,
    show: Callable[[str], None],
) -> TrainedModel:
    file = out / "trained.json"
    jobs: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if method not in jobs:
        uploaded = server.upload(training_rows(task, training), f"{task.name}.jsonl")
        suffix = method.replace("_", "-")
        jobs[method] = server.start(model, uploaded, method, hyperparameters=hyperparameters, suffix=suffix, seed=seed)
        write_atomic(file, json.dumps(jobs))
    return server.wait(jobs[method], lambda line: show(f"{method}: {line}"))


def build_rung(analysis: Analysis, name: str, trained: TrainedModel | None, per_hour: float) -> Rung:
    (arm,) = (a for a in analysis.arms if a.arm == name)
    n = max(1, arm.n)
    return Rung(
        name=name,
        accuracy=arm.accuracy.mean,
        low=arm.accuracy.low,
        high=arm.accuracy.high,
        prompt_tokens=arm.n_prompt / n,
        trained_tokens=trained.tokens if trained else 0,
        minutes=trained.seconds / 60 if trained else 0.0,
        training_cost=trained.seconds / 3600 * per_hour if trained else 0.0,
        cost_per_thousand=arm.seconds / n * 1000 / 3600 * per_hour,
    )


def rung_rows(rungs: list[Rung]) -> list[list[str]]:
    """Return the rungs as a table with a heading."""
    rows = [["rung", "right", "95 %", "prompt tokens", "trained tokens", "minutes", "training", "1,000 answers"]]
    for r in rungs:
        interval = f"{r.low:.0%} to {r.high:.0%}"
        paid = [f"{r.training_cost:.4f}", f"{r.cost_per_thousand:.4f}"]
        rows.append(
            [
                r.name,
                f"{r.accuracy:.0%}",
                interval,
                f"{r.prompt_tokens:.0f}",
                f"{r.trained_tokens:,}",
                f"{r.minutes:.1f}",
                *paid,
            ]
        )
    return rows
