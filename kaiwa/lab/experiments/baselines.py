"""What needs no model: the score of chance, of always saying the commonest answer; and how many items can tell at all.

An item that every arm gets right (ceiling) or wrong (floor) tells nothing about a difference. With few informative
items a verdict is about those few, and "no difference" is about the task's difficulty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kaiwa.core.errors import UserError
from kaiwa.lab.experiments.run import ItemOutcome
from kaiwa.lab.grading.graders import grade
from kaiwa.lab.tasks.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """chance: the score of guessing among the choices, None without choices. majority: of always answering `answer`,
    None where a model grades. informative, ceiling, floor: items that some arms get right, all, none.
    """

    task: str
    chance: float | None
    majority: float | None
    answer: str
    informative: int
    ceiling: int
    floor: int

    @property
    def n(self) -> int:
        """The number of items that went through under every arm."""
        return self.informative + self.ceiling + self.floor


def task_baselines(task: Task, outcomes: Sequence[ItemOutcome] = ()) -> Baselines:
    """Return the baselines of a task, with its items counted by what all arms made of them in `outcomes`."""
    sizes = [len(set(item.choices)) for item in task.items]
    chance = sum(1 / n for n in sizes) / len(sizes) if all(sizes) else None
    answer = Counter(item.answer for item in task.items).most_common(1)[0][0]
    counted = Counter(_item_kind(scores) for scores in _scores_by_item(task, outcomes).values())
    return Baselines(
        task=task.name,
        chance=chance,
        majority=_constant_score(task, answer),
        answer=answer,
        informative=counted["informative"],
        ceiling=counted["ceiling"],
        floor=counted["floor"],
    )


def _constant_score(task: Task, answer: str) -> float | None:
    """Return the score of one answer to every item, None where a model grades or the rule cannot."""
    if task.grader.judge is not None:
        return None
    try:
        return sum(grade(task, item, answer).score for item in task.items) / len(task.items)
    except UserError:
        return None


def _scores_by_item(task: Task, outcomes: Sequence[ItemOutcome]) -> Mapping[str, list[float]]:
    """Return each item's scores under all arms and seeds; an item that failed once is left out."""
    scores: dict[str, list[float]] = {}
    failed = {o.id for o in outcomes if o.task == task.name and o.error}
    for outcome in outcomes:
        if outcome.task == task.name and outcome.id not in failed and outcome.score == outcome.score:
            scores.setdefault(outcome.id, []).append(outcome.score)
    return scores


def _item_kind(scores: Sequence[float]) -> str:
    return "ceiling" if min(scores) >= 1 else "floor" if max(scores) <= 0 else "informative"


def baselines_text(one: Baselines) -> str:
    """Return the baselines in one line for the terminal."""
    chance = "" if one.chance is None else f"chance {one.chance:.1%}, "
    majority = "" if one.majority is None else f"always {one.answer[:30]!r} {one.majority:.1%}; "
    if not one.n:
        return f"{one.task}: {chance}{majority}".rstrip(", ;")
    informative = f"informative items {one.informative} of {one.n}"
    return f"{one.task}: {chance}{majority}{informative} ({one.ceiling} right under every arm, {one.floor} under none)"
