"""Prompt search that does not fool itself: candidates are compared on dev items, the winner is graded on others.

The best of many looks better than it is, because it was chosen for looking so. Dev and test are cut by a hash of the
item's id, so that they never mix, whatever is searched later; the dev score is shrunk by the optimism of having chosen
(`stats.selection`); what counts is the paired comparison with the baseline on the test items, which only two arms ever
see.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kaiwa.core.errors import UserError
from kaiwa.lab.experiments.analysis import Analysis, analyse, by_item
from kaiwa.lab.experiments.experiment import Arm, Contrast, Experiment, register
from kaiwa.lab.experiments.run import Opened, run_models
from kaiwa.lab.tasks.task import Task
from kaiwa.stats.selection import Winner, shrink_winner

LEAST = 10  # items on either side


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """`winner` of the dev items by name; `dev` with its optimism; `test`: the winner against the baseline."""

    winner: str
    baseline: str
    dev: Winner
    n_dev: int
    test: Analysis


def split(task: Task, share: float = 0.5) -> tuple[Task, Task]:
    """Dev and test items. An item's side depends on its id (on its cluster, where it has one) and on nothing else."""
    dev = [item for item in task.items if _place(item.cluster or item.id) < share]
    test = [item for item in task.items if _place(item.cluster or item.id) >= share]
    if min(len(dev), len(test)) < LEAST:
        raise UserError(
            f"task {task.name}: {len(dev)} dev and {len(test)} test items; at least {LEAST} of each are needed: raise n"
        )
    return dataclasses.replace(task, items=tuple(dev)), dataclasses.replace(task, items=tuple(test))


def _place(id: str) -> float:
    return int.from_bytes(hashlib.sha256(id.encode()).digest()[:6], "big") / (1 << 48)


def search(
    experiment: Experiment,
    open_model: Callable[[str], Opened],
    out: Path,
    share: float = 0.5,
    show: Callable[[int, int], None] = lambda done, total: None,
) -> Found:
    """The experiment's arms are the candidates, the first is the baseline; one task. Everything is kept under `out`."""
    if len(experiment.tasks) != 1 or len(experiment.arms) < 2:
        raise UserError(
            f"experiment {experiment.name}: a search takes one task and, after the baseline, candidate arms"
        )
    if experiment.tasks[0].grader.judge is not None:
        raise UserError(
            f"experiment {experiment.name}: a search is graded by a rule; grade its winner by a model after"
        )
    dev_task, test_task = split(experiment.tasks[0], share)
    dev = dataclasses.replace(experiment, tasks=(dev_task,))
    register(dev, out / "dev")
    outcomes = run_models(dev, open_model, out / "dev" / "calls.jsonl", show)
    scores = [by_item([o for o in outcomes if o.arm == arm.name]) for arm in experiment.arms]
    ids = [item.id for item in dev_task.items if all(item.id in some for some in scores)]
    if not ids:
        raise UserError(f"experiment {experiment.name}: no dev item went through under every arm")
    won = shrink_winner([[some[id] for id in ids] for some in scores])
    best, baseline = experiment.arms[won.index], experiment.arms[0]
    test = _final(experiment, test_task, baseline, best)
    register(test, out / "test")
    final = run_models(test, open_model, out / "test" / "calls.jsonl", show)
    return Found(
        winner=best.name, baseline=baseline.name, dev=won, n_dev=len(ids), test=analyse(test, final, experiment.model)
    )


def _final(experiment: Experiment, task: Task, baseline: Arm, best: Arm) -> Experiment:
    arms: Sequence[Arm] = (baseline,) if best is baseline else (baseline, best)
    contrast = Contrast(a=baseline.name, b=best.name, claim="the searched prompt is better", task=task.name)
    chosen = () if best is baseline else (contrast,)
    return dataclasses.replace(experiment, tasks=(task,), arms=tuple(arms), contrasts=chosen)


def told(found: Found) -> str:
    """What came of a search, for the terminal."""
    from kaiwa.lab.experiments.verdicts import points, verdict

    lines = [
        f"dev: {found.winner!r} is the best of the candidates with {found.dev.observed:.1%} of {found.n_dev} items;"
        f" less the winner's curse ({found.dev.optimism * 100:.1f} points) {found.dev.shrunk:.1%}"
    ]
    if not found.test.findings:
        lines.append("test: the baseline is the best; there is nothing to compare")
    for f in found.test.findings:
        d = f.found.difference
        lines.append(
            f"test: {f.contrast.b!r} - {f.contrast.a!r} = {points(d.mean)} points [{points(d.low)}, {points(d.high)}]"
            f" on {f.found.n} items that nothing was chosen by: {verdict(f.found)}"
        )
    return "\n".join(lines)
