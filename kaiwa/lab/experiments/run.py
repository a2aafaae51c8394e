"""Running an experiment: every arm of every task side by side, from the call cache as far as it goes; failures are
kept apart from wrong answers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.lab.asking.call_cache import Asker, CallCache
from kaiwa.lab.asking.program import FinishedProgram, Program, Reply, run_programs
from kaiwa.lab.experiments.experiment import Arm, Experiment
from kaiwa.lab.experiments.preflight import check_first_calls
from kaiwa.lab.grading.graders import grade
from kaiwa.lab.tasks.extract import extract
from kaiwa.lab.tasks.prompt import prompt_as_text
from kaiwa.lab.tasks.reply_text import no_answer_name
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.techniques.by_name import reseed
from kaiwa.lab.techniques.technique import Decoding
from kaiwa.lab.techniques.votes import majority_at
from kaiwa.text.chat_model import ChatModel, GenerateCall, OpenedModel
from kaiwa.text.sampling import Sampling

MAJORITIES = (1, 3, 5, 10, 20, 40)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemOutcome:
    """One item under one arm with one seed.

    `error`: the item failed, and counts as neither right nor wrong. `no_answer`: why nothing was read, by name. `score`
    is NaN (null in files) before a model judge has graded the answer, and always for pairwise graders: scores are per
    contrast, see JudgeCheck.preferred.
    """

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
    no_answer: str = ""
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
    """One item to be answered under one arm; `sampling.seed` is the run's seed."""

    task: Task
    item: Item
    arm: Arm
    sampling: Sampling


def run(
    experiment: Experiment,
    model: ChatModel,
    cache_file: Path | None = None,
    *,
    identity: str = "",
    show: Callable[[int, int], None] = lambda done, total: None,
    form: str = "chat",
) -> list[ItemOutcome]:
    """Run an experiment on one model. Return all outcomes, in the order of tasks, arms, seeds, items.

    UserError where an arm cannot be asked, before the first call, and where every item failed.
    """
    return run_models(experiment, lambda name: OpenedModel(model, identity, form), cache_file, show)


def run_models(
    experiment: Experiment,
    open_model: Callable[[str], OpenedModel],
    cache_file: Path | None = None,
    show: Callable[[int, int], None] = lambda done, total: None,
) -> list[ItemOutcome]:
    """Run an experiment whose arms name their models. Each model is opened once, asked everything, and let go.

    Return the outcomes as `run` does. `show` is told (calls done, calls to make) of each round.
    """
    check_first_calls(experiment)
    cache = CallCache(cache_file)
    runs = [
        ItemRun(
            arm.own_task(task), item, _seeded_arm(arm, seed), replace(arm.sampling or experiment.sampling, seed=seed)
        )
        for task in experiment.tasks
        for arm in experiment.arms_of(task)
        for seed in experiment.seeds
        for item in task.items
    ]
    outcomes: list[ItemOutcome | None] = [None] * len(runs)
    for name in experiment.models():
        opened = open_model(name)
        form = experiment.form or opened.form
        positions = [i for i, item_run in enumerate(runs) if (item_run.arm.model or experiment.model) == name]
        model_runs = [replace(runs[i], task=replace(runs[i].task, form=form)) for i in positions]
        asker = Asker(opened.model, cache, opened.identity, show)
        for i, ended in run_programs([_program(item_run) for item_run in model_runs], asker):
            outcomes[positions[i]] = _grade_program(model_runs[i], ended)
        del opened, asker
    results = [outcome for outcome in outcomes if outcome is not None]
    assert len(results) == len(runs)
    if all(outcome.error for outcome in results):
        raise UserError(f"experiment {experiment.name}: every item failed; the first: {results[0].error}")
    return results


def _seeded_arm(arm: Arm, seed: int) -> Arm:
    return replace(arm, technique=reseed(arm.technique, seed))


def _program(item_run: ItemRun) -> Program:
    """Start the technique inside a program, so that an error of its start is the item's failure."""
    return (yield from item_run.arm.technique.run(item_run.task, item_run.item, Decoding(sampling=item_run.sampling)))


def _grade_program(item_run: ItemRun, finished: FinishedProgram) -> ItemOutcome:
    """Return the outcome of a finished program: the answer graded by a rule, or left for the judge."""
    task, item = item_run.task, item_run.item
    outcome = _costs(item_run, finished)
    if finished.result is None:
        return replace(outcome, error=f"item {item.id}: {finished.error}")
    result = finished.result
    answer = result.answer if result.extracted else extract(task.kind, result.text, item.choices)
    last = finished.trace[-1][1] if finished.trace else Reply()
    name = no_answer_name(result.text, last.finish_reason) if answer is None else ""
    outcome = replace(outcome, answer=answer, text=result.text, no_answer=name)
    if task.grader.judge is not None:
        score = math.nan if answer is not None or task.grader.name == "pairwise" else 0.0
        return replace(outcome, valid=answer is not None, score=score, notes=result.notes)
    try:
        graded = grade(task, item, answer)
    except UserError as error:
        return replace(outcome, error=f"item {item.id}: {error}")
    notes = {**result.notes, **_majorities(item_run, result.notes.get("votes", ()))}
    return replace(outcome, valid=graded.valid, score=graded.score, notes=notes)


def _majorities(item_run: ItemRun, votes: Sequence[str | None]) -> dict[str, float]:
    """Return maj@k for a few k below the number of votes: the accuracy of fewer samples, without asking again."""
    right = {vote: grade(item_run.task, item_run.item, vote).score for vote in set(votes)}
    return {f"maj@{k}": majority_at(votes, right.__getitem__, k) for k in MAJORITIES if k < len(votes)}


def _costs(item_run: ItemRun, finished: FinishedProgram) -> ItemOutcome:
    """Return an ungraded outcome with the first prompt, and the sums of tokens, seconds and calls."""
    replies = [reply for _, reply in finished.trace]
    first = finished.trace[0][0].request if finished.trace else None
    prompt = "" if first is None else prompt_as_text(first.prompt if isinstance(first, GenerateCall) else first.context)
    return ItemOutcome(
        task=item_run.task.name,
        arm=item_run.arm.name,
        seed=item_run.sampling.seed,
        id=item_run.item.id,
        prompt=prompt,
        n_prompt=sum(r.n_prompt for r in replies),
        n_reused=sum(r.n_reused for r in replies),
        n_tokens=sum(r.n_tokens for r in replies),
        seconds=round(sum(r.seconds for r in replies), 4),
        calls=len(replies),
    )
