"""Runs an experiment: every arm of every task side by side, from the cache as far as it goes, failures kept apart."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.lab.asking.call_cache import Asker, Cache
from kaiwa.lab.asking.program import Ended, Program, rounds
from kaiwa.lab.experiments.experiment import Arm, Experiment
from kaiwa.lab.grading.graders import grade
from kaiwa.lab.tasks.extract import extract
from kaiwa.lab.tasks.prompt import prompt_as_text
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.techniques.by_name import reseed
from kaiwa.lab.techniques.technique import How
from kaiwa.lab.techniques.votes import majority_at
from kaiwa.text.chat_model import ChatModel, GenerateCall, OpenedModel

MAJORITIES = (1, 3, 5, 10, 20, 40)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemOutcome:
    """One item under one arm with one seed. `error`: the item failed, and counts as neither right nor wrong. `score`:
    NaN (null in files) until a judge has spoken, and for pairwise graders, where it belongs to contrasts."""

    task: str
    arm: str
    seed: int
    id: str
    answer: str | None = None
    valid: bool = False
    score: float = 0.0
    text: str = ""
    prompt: str = ""
    error: str = ""
    n_prompt: int = 0
    n_reused: int = 0
    n_tokens: int = 0
    seconds: float = 0.0
    calls: int = 0
    notes: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"score": self.score if math.isfinite(self.score) else None}


@dataclass(frozen=True, slots=True)
class ItemRun:
    task: Task
    item: Item
    arm: Arm
    seed: int


Opened = OpenedModel


def run(
    experiment: Experiment,
    model: ChatModel,
    cache_file: Path | None = None,
    *,
    identity: str = "",
    show: Callable[[int, int], None] = lambda done, total: None,
    form: str = "chat",
) -> list[ItemOutcome]:
    """All outcomes, in the order of tasks, arms, seeds, items. UserError only for what makes every item fail."""
    return run_models(experiment, lambda name: Opened(model, identity, form), cache_file, show)


def run_models(
    experiment: Experiment,
    open_model: Callable[[str], Opened],
    cache_file: Path | None = None,
    show: Callable[[int, int], None] = lambda done, total: None,
) -> list[ItemOutcome]:
    """`run` where arms name their models: each is opened once, asked all it is to be asked, and let go."""
    cache = Cache(cache_file)
    jobs = [
        ItemRun(task, item, dataclasses.replace(arm, technique=reseed(arm.technique, seed)), seed)
        for task in experiment.tasks
        for arm in experiment.arms_of(task)
        for seed in experiment.seeds
        for item in task.items
    ]
    outcomes: list[ItemOutcome | None] = [None] * len(jobs)
    for name in experiment.models():
        opened = open_model(name)
        form = experiment.form or opened.form
        places = [i for i, job in enumerate(jobs) if (job.arm.model or experiment.model) == name]
        mine = [dataclasses.replace(jobs[i], task=dataclasses.replace(jobs[i].task, form=form)) for i in places]
        asker = Asker(opened.model, cache, opened.identity, show)
        for i, ended in rounds([_program(job) for job in mine], asker):
            outcomes[places[i]] = _grade_program(mine[i], ended)
        del opened, asker
    found = [outcome for outcome in outcomes if outcome is not None]
    assert len(found) == len(jobs)
    if all(outcome.error for outcome in found):
        raise UserError(f"experiment {experiment.name}: every item failed; the first: {found[0].error}")
    return found


def _program(job: ItemRun) -> Program:
    """The technique's program; what is wrong before its first call is the item's failure too."""
    how = How(seed=job.seed)
    return (yield from job.arm.technique.run(job.task, job.item, how))


def _grade_program(job: ItemRun, ended: Ended) -> ItemOutcome:
    base = {"task": job.task.name, "arm": job.arm.name, "seed": job.seed, "id": job.item.id, **_costs(ended)}
    if ended.said is None:
        return ItemOutcome(**base, error=f"item {job.item.id}: {ended.error}")
    said = ended.said
    answer = said.answer if said.extracted else extract(job.task.kind, said.text, job.item.choices)
    if job.task.grader.judge is not None:
        score = math.nan if answer is not None or job.task.grader.name == "pairwise" else 0.0
        valid = answer is not None
        return ItemOutcome(**base, answer=answer, valid=valid, score=score, text=said.text, notes=said.notes)
    try:
        found = grade(job.task, job.item, answer)
    except UserError as error:
        return ItemOutcome(**base, answer=answer, text=said.text, error=f"item {job.item.id}: {error}")
    notes = {**said.notes, **_majorities(job, said.notes.get("votes", ()))}
    return ItemOutcome(**base, answer=answer, valid=found.valid, score=found.score, text=said.text, notes=notes)


def _majorities(job: ItemRun, votes: Sequence[str | None]) -> dict[str, float]:
    """maj@k for a few k below the number of votes: what fewer samples would have reached, without asking again."""
    right = {vote: grade(job.task, job.item, vote).score for vote in set(votes)}
    return {f"maj@{k}": majority_at(votes, right.__getitem__, k) for k in MAJORITIES if k < len(votes)}


def _costs(ended: Ended) -> dict[str, Any]:
    replies = [reply for _, reply in ended.trace]
    first = ended.trace[0][0].call if ended.trace else None
    shown = "" if first is None else prompt_as_text(first.prompt if isinstance(first, GenerateCall) else first.context)
    return {
        "prompt": shown,
        "n_prompt": sum(r.n_prompt for r in replies),
        "n_reused": sum(r.n_reused for r in replies),
        "n_tokens": sum(r.n_tokens for r in replies),
        "seconds": round(sum(r.seconds for r in replies), 4),
        "calls": len(replies),
    }
