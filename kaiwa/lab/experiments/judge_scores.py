"""A model as the grader of an experiment: the verdicts become the outcomes' scores, and the judge's errors are
measured.

    grader "model"      is an answer right? Its score is the judge's yes or no, one half where the swap matters
    grader "pairwise"   which of a contrast's two answers is better? Scores belong to the contrast, not to the arms

The judge is first shown labelled cases: cases from the grader's `labels` file, by people, or else the demonstrations'
own answers and wrong answers. Sensitivity and specificity go into every verdict's interval (stats/judged.py). An answer
whose verdict cannot be read is failed, never wrong.

    {"input", "right", "answer", "correct": true}      a label for "model", one JSON object per line
    {"input", "a", "b", "better": "a"}                 a label for "pairwise" (a or b)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kaiwa.core.errors import UserError
from kaiwa.lab.asking.call_cache import Asker, CallCache
from kaiwa.lab.experiments.experiment import Experiment
from kaiwa.lab.experiments.run import ItemOutcome
from kaiwa.lab.grading.model_judge import (
    JudgeAgreement,
    LabelledAnswer,
    Rubric,
    Verdicts,
    cases_from_demonstrations,
    compare_answers,
    grade_answers,
    measure_agreement,
)
from kaiwa.lab.tasks.rows import read_rows
from kaiwa.lab.tasks.task import Item, Judge, Task
from kaiwa.text.chat_model import OpenedModel

Preferred = Mapping[tuple[str, str], Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeCheck:
    """The measured quality of a task's judge: agreement on labelled cases, and habits over the whole run.

    `preferred`, of pairwise graders: (A, B) -> item -> 1 where B was preferred, 0 where A, one half for ties, averaged
    over seeds.
    """

    task: str
    judge: str
    agreement: JudgeAgreement
    run: Verdicts
    preferred: Preferred = dataclasses.field(default_factory=dict)

    def faults(self) -> tuple[str, ...]:
        """Return the faults on the labelled cases, and "unread" where too many verdicts of the run could not be
        read."""
        faults = self.agreement.faults()
        unreadable = self.run.unread > 0 and "unread" not in faults
        return (*faults, "unread") if unreadable and self.run.unread > 0.2 * len(self.run.scores) else faults


def apply_judges(
    experiment: Experiment,
    outcomes: Sequence[ItemOutcome],
    open_judge: Callable[[Judge], OpenedModel],
    cache_file: Path | None = None,
) -> tuple[list[ItemOutcome], dict[str, JudgeCheck]]:
    """Grade the tasks that have a judge. Return all outcomes, and by task the judge's measured quality.

    `cache_file`: the judges' calls. UserError for labels that cannot check a judge.
    """
    scored, checks = list(outcomes), dict[str, JudgeCheck]()
    cache = CallCache(cache_file)
    opened = dict[tuple[str, str, str], OpenedModel]()
    for task in experiment.tasks:
        judge = task.grader.judge
        if judge is None:
            continue
        key = (judge.model, judge.url, judge.api_key_env)
        if key not in opened:
            opened[key] = open_judge(judge)
        judge_model = opened[key]
        asker = Asker(judge_model.model, cache, judge_model.identity)
        positions = [i for i, o in enumerate(scored) if o.task == task.name and not o.error]
        cases = (
            read_labels(Path(judge.labels), task)
            if judge.labels
            else cases_from_demonstrations(task, _is_pairwise(task))
        )
        agreed = measure_agreement(asker, task, cases, Rubric(text=judge.rubric))
        name = f"{judge.model} ({judge.url})" if judge.url else judge.model
        if _is_pairwise(task):
            run, preferred = _grade_pairs(experiment, task, [scored[i] for i in positions], asker)
            checks[task.name] = JudgeCheck(task=task.name, judge=name, agreement=agreed, run=run, preferred=preferred)
            continue
        run = _grade(task, scored, positions, asker)
        checks[task.name] = JudgeCheck(task=task.name, judge=name, agreement=agreed, run=run)
    return scored, checks


def _is_pairwise(task: Task) -> bool:
    return task.grader.name == "pairwise"


def _grade(task: Task, outcomes: list[ItemOutcome], positions: Sequence[int], asker: Asker) -> Verdicts:
    """Write the judge's scores into the outcomes at `positions`; answers that are not valid stay 0 and are not asked
    about."""
    items = {item.id: item for item in task.items}
    readable = [i for i in positions if outcomes[i].valid]
    rubric = Rubric(text=task.grader.judge.rubric if task.grader.judge else "")
    verdicts = grade_answers(asker, task, [(items[outcomes[i].id], outcomes[i].answer or "") for i in readable], rubric)
    for i, score in zip(readable, verdicts.scores, strict=True):
        if score is None:
            error = f"item {outcomes[i].id}: the judge's verdict could not be read"
            outcomes[i] = dataclasses.replace(outcomes[i], score=math.nan, error=error)
        else:
            outcomes[i] = dataclasses.replace(outcomes[i], score=score)
    return verdicts


def _grade_pairs(
    experiment: Experiment, task: Task, outcomes: Sequence[ItemOutcome], asker: Asker
) -> tuple[Verdicts, dict[tuple[str, str], dict[str, float]]]:
    """Judge every contrast of the task: both arms' answers to an item with one seed are a pair."""
    items = {item.id: item for item in task.items}
    by_arm = {(o.arm, o.seed, o.id): o for o in outcomes}
    keys: list[tuple[str, str, str]] = []
    pairs: list[tuple[Item, str, str]] = []
    for c in experiment.contrasts_of(task):
        for (arm, seed, id), a in by_arm.items():
            b = by_arm.get((c.b, seed, id))
            if arm == c.a and b is not None:
                keys.append((c.a, c.b, id))
                pairs.append((items[id], a.answer or "", b.answer or ""))
    rubric = Rubric(text=task.grader.judge.rubric if task.grader.judge else "")
    run = compare_answers(asker, task, pairs, rubric)
    scores: dict[tuple[str, str], dict[str, list[float | None]]] = {}
    for (arm_a, arm_b, id), score in zip(keys, run.scores, strict=True):
        scores.setdefault((arm_a, arm_b), {}).setdefault(id, []).append(score)
    means = {
        names: {
            id: sum(s for s in scores_of_item if s is not None) / len(scores_of_item)
            for id, scores_of_item in by.items()
            if None not in scores_of_item
        }
        for names, by in scores.items()
    }
    return run, means


def read_labels(path: Path, task: Task) -> list[LabelledAnswer]:
    """Read cases that people have labelled. UserError names the row."""
    pairs, cases = _is_pairwise(task), list[LabelledAnswer]()
    needed = ("input", "a", "b", "better") if pairs else ("input", "right", "answer", "correct")
    for number, row in enumerate(read_rows(path)):
        where = f"{path}, row {number + 1}"
        for name in needed:
            if row.get(name) is None:
                raise UserError(
                    f"{where}: no {name!r}; a label for a {task.grader.name} grader has {', '.join(needed)}"
                )
        item = Item(id=f"label-{number}", input=str(row["input"]), answer=str(row.get("right", "")))
        if pairs:
            better = str(row["better"]).strip().lower()
            if better not in ("a", "b"):
                raise UserError(f"{where}: better is {row['better']!r}; a or b")
            cases.append(LabelledAnswer(item=item, answer=str(row["b"]), other=str(row["a"]), right=better == "b"))
        else:
            correct = {"true": True, "1": True, "false": False, "0": False}.get(str(row["correct"]).strip().lower())
            if correct is None:
                raise UserError(f"{where}: correct is {row['correct']!r}; true or false")
            cases.append(LabelledAnswer(item=item, answer=str(row["answer"]), right=correct))
    if not cases:
        raise UserError(f"{path}: no labels in it")
    return cases
