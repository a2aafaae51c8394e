"""The leaderboard: every model's accuracy on every task, ranked as far as the data can tell.

Results stand in KAIWA_HOME/leaderboard/ID.json, one per task (by the hash of its items) and model (by the model's
version when asked), with every item's score: so any two models are compared on the same items, paired.

    rank    from 1 + the number of models that are better for sure (paired, 95 %), to n - the number of worse models
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kaiwa.core.artifact import finite, write_atomic
from kaiwa.lab.experiments.analysis import mean_scores_by_item, summarise_arm
from kaiwa.lab.experiments.experiment import Arm, Experiment
from kaiwa.lab.experiments.run import ItemOutcome
from kaiwa.lab.tasks.task import Task
from kaiwa.lab.techniques.shots import ZeroShot
from kaiwa.stats.comparison import compare
from kaiwa.stats.intervals import Interval

FOLDER = "leaderboard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One model on one task. `scores`: by item; failed items have none. `model_made`: seconds since 1970."""

    model: str
    model_made: int
    parameters: int
    bits: int
    task: str
    task_hash: str
    language: str
    how: str
    n: int
    failed: int
    valid: float
    accuracy: float
    low: float
    high: float
    scores: Mapping[str, float]
    clusters: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A model's line. accuracy: by task; mean: over the tasks, with its interval; first to last: the possible ranks."""

    model: str
    parameters: int
    bits: int
    accuracy: Mapping[str, Interval]
    mean: Interval
    first: int
    last: int


def task_hash(task: Task) -> str:
    """Return 12 hex digits that change with any item, the prompt, or the grader."""
    text = repr((task.kind, task.prompt, task.grader, [(i.id, i.input, i.answer, i.choices) for i in task.items]))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def evaluation_experiment(tasks: Sequence[Task], model: str) -> Experiment:
    """Build the experiment: choices by likelihood per token, all else written; no demonstrations."""
    arms = tuple(Arm(name=f"{task.name}", technique=ZeroShot(by=answer_method(task)), task=task.name) for task in tasks)
    return Experiment(name="evaluate", tasks=tuple(tasks), arms=arms, model=model)


def answer_method(task: Task) -> str:
    return "likelihood per token" if task.kind == "choice" else "text"


def build_result(
    task: Task, outcomes: Sequence[ItemOutcome], *, model: str, model_made: int, parameters: int, bits: int
) -> Result:
    task_outcomes = [o for o in outcomes if o.task == task.name]
    arm = summarise_arm(task, task.name, task_outcomes)
    return Result(
        model=model,
        model_made=model_made,
        parameters=parameters,
        bits=bits,
        task=task.name,
        task_hash=task_hash(task),
        language=task.language,
        how=answer_method(task),
        n=arm.n,
        failed=arm.failed,
        valid=arm.valid.mean,
        accuracy=arm.accuracy.mean,
        low=arm.accuracy.low,
        high=arm.accuracy.high,
        scores=mean_scores_by_item(task_outcomes),
        clusters={item.id: item.cluster for item in task.items if item.cluster},
    )


def write_result(home: Path, result: Result) -> Path:
    """Write a result over an older result of the same model and task; return the file."""
    folder = home / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    mark = hashlib.sha256(f"{result.task} {result.task_hash} {result.model}".encode()).hexdigest()[:16]
    file = folder / f"{mark}.json"
    write_atomic(file, json.dumps(finite(asdict(result)), ensure_ascii=False))
    return file


def read_results(home: Path) -> list[Result]:
    """Read everything measured so far; files that are not results are left out."""
    results = []
    for file in sorted((home / FOLDER).glob("*.json")):
        try:
            value: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            whole: dict[str, Any] = {k: math.nan if v is None else v for k, v in value.items()}
            results.append(Result(**whole))
        except (OSError, ValueError, TypeError):
            continue
    return results


def select_task_versions(results: Sequence[Result], models: Mapping[str, int] | None = None) -> list[Result]:
    """Select, of each task's versions, the version that most models have done.

    `models` (name -> time of making): keep only results of the current version of each model.
    """
    if models is not None:
        results = [r for r in results if models.get(r.model) == r.model_made]
    counts: dict[str, dict[str, int]] = {}
    for r in results:
        counts.setdefault(r.task, {}).setdefault(r.task_hash, 0)
        counts[r.task][r.task_hash] += 1
    best = {task: max(versions, key=lambda h: (versions[h], h)) for task, versions in counts.items()}
    return [r for r in results if best[r.task] == r.task_hash]


def rank(results: Sequence[Result], language: str = "") -> list[Place]:
    """Rank the models that have done every task (of a language), best mean first."""
    chosen = [r for r in results if language in ("", r.language)]
    tasks = list(dict.fromkeys(r.task for r in chosen))
    by_model: dict[str, dict[str, Result]] = {}
    for r in chosen:
        by_model.setdefault(r.model, {})[r.task] = r
    whole = {model: done for model, done in by_model.items() if len(done) == len(tasks)}
    places = []
    for model, done in whole.items():
        signs = [_sign(done, other) for name, other in whole.items() if name != model]
        one = next(iter(done.values()))
        places.append(
            Place(
                model=model,
                parameters=one.parameters,
                bits=one.bits,
                accuracy={task: Interval(r.accuracy, r.low, r.high, r.n) for task, r in done.items()},
                mean=mean_interval([Interval(r.accuracy, r.low, r.high, r.n) for r in done.values()]),
                first=1 + signs.count(-1),
                last=len(whole) - signs.count(1),
            )
        )
    return sorted(places, key=lambda p: (-p.mean.mean if math.isfinite(p.mean.mean) else 1.0, p.model))


def mean_interval(parts: Sequence[Interval]) -> Interval:
    """Return the mean over tasks, each counting the same; half-widths of independent tasks add in squares."""
    t = len(parts)
    mean = sum(p.mean for p in parts) / t
    low = mean - math.sqrt(sum((p.mean - p.low) ** 2 for p in parts)) / t
    high = mean + math.sqrt(sum((p.high - p.mean) ** 2 for p in parts)) / t
    return Interval(mean, low, high, min(p.n for p in parts))


def _sign(results: Mapping[str, Result], other_results: Mapping[str, Result]) -> int:
    """Return 1 where the first model is better for sure, -1 where the first is worse, 0 where the data cannot tell.

    Compared over the items of all tasks for which both have scores.
    """
    a: list[float] = []
    b: list[float] = []
    clusters: list[str] = []
    for task, result in results.items():
        other_result = other_results[task]
        for id in result.scores:
            if id in other_result.scores:
                a.append(other_result.scores[id])
                b.append(result.scores[id])
                clusters.append(
                    f"{task} {result.clusters.get(id, '')}" if result.clusters.get(id) else f"{task} item {id}"
                )
    if len(a) < 2:
        return 0
    clustered = len(set(clusters)) < len(clusters)
    verdict = compare(a, b, clusters=clusters if clustered else None).verdict
    return {"better": 1, "worse": -1}.get(verdict, 0)


def ranking_rows(places: Sequence[Place]) -> list[list[str]]:
    """Return the ranking as a table with a heading."""
    tasks = list(places[0].accuracy) if places else []
    table = [["rank", "model", "mean", "95 %", *tasks]]
    for p in places:
        ranks = str(p.first) if p.first == p.last else f"{p.first}-{p.last}"
        interval = f"{p.mean.low:.0%} to {p.mean.high:.0%}"
        cells = [f"{p.accuracy[t].mean:.0%} [{p.accuracy[t].low:.0%}, {p.accuracy[t].high:.0%}]" for t in tasks]
        table.append([ranks, p.model, f"{p.mean.mean:.1%}", interval, *cells])
    return table
