"""Prompt search without selection bias: candidates are compared on dev items, the winner is graded on test items.

The best of many candidates looks better than its true value, since the choice favours luck. Dev and test are split by a
hash of the item's id, so that the two never mix, whatever is searched later; the dev score is shrunk by the optimism of
having chosen (`stats.selection`); the result is the paired comparison with the baseline on the test items, which only
two arms ever see.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kaiwa.core.errors import UserError
from kaiwa.lab.experiments.analysis import Analysis, analyse, mean_scores_by_item
from kaiwa.lab.experiments.experiment import Arm, Contrast, Experiment, register
from kaiwa.lab.experiments.run import run_models
from kaiwa.lab.experiments.verdicts import points_text, verdict_text
from kaiwa.lab.tasks.task import Task
from kaiwa.stats.selection import Winner, shrink_winner
from kaiwa.text.chat_model import OpenedModel

LEAST = 10  # items on either side


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """`winner`: the best arm on the dev items; `dev`: the winner's score and optimism; `test`: the winner against the
    baseline.
    """

    winner: str
    baseline: str
    dev: Winner
    n_dev: int
    test: Analysis


def split_dev_test(task: Task, share: float = 0.5) -> tuple[Task, Task]:
    """Split a task's items into dev and test. An item's side depends only on the item's id, or on the cluster if any.

    UserError for fewer than LEAST items on either side.
    """
    dev = [item for item in task.items if _hash_share(item.cluster or item.id) < share]
    test = [item for item in task.items if _hash_share(item.cluster or item.id) >= share]
    if min(len(dev), len(test)) < LEAST:
        raise UserError(
            f"task {task.name}: {len(dev)} dev and {len(test)} test items; at least {LEAST} of each are needed: raise n"
        )
    return dataclasses.replace(task, items=tuple(dev)), dataclasses.replace(task, items=tuple(test))


def _hash_share(id: str) -> float:
    return int.from_bytes(hashlib.sha256(id.encode()).digest()[:6], "big") / (1 << 48)


def search_prompt(
    experiment: Experiment,
    open_model: Callable[[str], OpenedModel],
    out: Path,
    share: float = 0.5,
    show: Callable[[int, int], None] = lambda done, total: None,
) -> SearchResult:
    """Search: the experiment's arms are the candidates, the first is the baseline; one task. All calls are kept in
    `out`.

    UserError for more than one task, fewer than two arms, and for a task that a model grades.
    """
    if len(experiment.tasks) != 1 or len(experiment.arms) < 2:
        raise UserError(
            f"experiment {experiment.name}: a search takes one task and, after the baseline, candidate arms"
        )
    if experiment.tasks[0].grader.judge is not None:
        raise UserError(
            f"experiment {experiment.name}: a search is graded by a rule; grade its winner by a model after"
        )
    dev_task, test_task = split_dev_test(experiment.tasks[0], share)
    dev = dataclasses.replace(experiment, tasks=(dev_task,))
    register(dev, out / "dev")
    outcomes = run_models(dev, open_model, out / "dev" / "calls.jsonl", show)
    scores = [mean_scores_by_item([o for o in outcomes if o.arm == arm.name]) for arm in experiment.arms]
    ids = [item.id for item in dev_task.items if all(item.id in candidate for candidate in scores)]
    if not ids:
        raise UserError(f"experiment {experiment.name}: no dev item went through under every arm")
    winner = shrink_winner([[candidate[id] for id in ids] for candidate in scores])
    best, baseline = experiment.arms[winner.index], experiment.arms[0]
    test = _test_experiment(experiment, test_task, baseline, best)
    register(test, out / "test")
    final = run_models(test, open_model, out / "test" / "calls.jsonl", show)
    return SearchResult(
        winner=best.name,
        baseline=baseline.name,
        dev=winner,
        n_dev=len(ids),
        test=analyse(test, final, experiment.model),
    )


def _test_experiment(experiment: Experiment, task: Task, baseline: Arm, best: Arm) -> Experiment:
    arms: Sequence[Arm] = (baseline,) if best is baseline else (baseline, best)
    contrast = Contrast(a=baseline.name, b=best.name, claim="the searched prompt is better", task=task.name)
    chosen = () if best is baseline else (contrast,)
    return dataclasses.replace(experiment, tasks=(task,), arms=tuple(arms), contrasts=chosen)


def describe_search(result: SearchResult) -> str:
    """Describe a search's result in lines for the terminal."""
    lines = [
        f"dev: {result.winner!r} is the best of the candidates with {result.dev.observed:.1%} of {result.n_dev} items;"
        f" less the winner's curse ({result.dev.optimism * 100:.1f} points) {result.dev.shrunk:.1%}"
    ]
    if not result.test.findings:
        lines.append("test: the baseline is the best; there is nothing to compare")
    for f in result.test.findings:
        d = f.comparison.difference
        low, high = points_text(d.low), points_text(d.high)
        lines.append(
            f"test: {f.contrast.b!r} - {f.contrast.a!r} = {points_text(d.mean)} points [{low}, {high}]"
            f" on {f.comparison.n} items that nothing was chosen by: {verdict_text(f.comparison)}"
        )
    return "\n".join(lines)
