"""The ledger: every comparison that was looked at on the same items, over all experiments of a folder.

Holm within one experiment says nothing about the tenth experiment on the same items: whoever looks often enough finds.
`ledger.jsonl` beside the experiments' folders holds one line per experiment and task: its items' digests and its
comparisons' p-values. Experiments belong together where at least half of the smaller one's items are the other's too.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kaiwa.lab.experiments.analysis import ALPHA, Analysis
from kaiwa.lab.experiments.experiment import item_digest
from kaiwa.stats.multiple import holm

FILE = "ledger.jsonl"
SHARED = 0.5  # of the smaller experiment's items


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerLine:
    """One experiment's comparisons on one task. items: digests. comparisons: (difference in words, p, verdict)."""

    run: str
    experiment: str
    task: str
    items: tuple[str, ...]
    comparisons: tuple[tuple[str, float, str], ...]

    def shares_items(self, other: LedgerLine) -> bool:
        """Return whether two lines are about the same items, or mostly."""
        both = len(set(self.items) & set(other.items))
        return both > 0 and both >= SHARED * min(len(self.items), len(other.items))


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerView:
    """What all experiments on a task's items have looked at, from the view of one of them.

    n_comparisons in n_experiments; claimed: verdicts "better" and "worse" of this experiment; confirmed: those that
    Holm over all comparisons leaves.
    """

    task: str
    n_experiments: int
    n_comparisons: int
    claimed: tuple[str, ...]
    confirmed: tuple[str, ...]

    def text(self) -> str:
        """Return the view in one line."""
        looked = (
            f"ledger: {self.n_comparisons} comparisons looked at on these items in {self.n_experiments} experiments"
        )
        if not self.claimed:
            return f"{looked} ({self.task})"
        lost = [name for name in self.claimed if name not in self.confirmed]
        rest = f"; not confirmed: {', '.join(lost)}" if lost else ""
        return (
            f"{looked} ({self.task}); Holm over all leaves {len(self.confirmed)} of {len(self.claimed)} verdicts{rest}"
        )


def ledger_lines(analysis: Analysis, run: str) -> list[LedgerLine]:
    """Return an analysed experiment's lines, one a task with comparisons. `run`: its folder."""
    lines = []
    for task in analysis.experiment.tasks:
        rows = [f for f in analysis.findings if f.task == task.name]
        items = tuple(item_digest(dataclasses.replace(item, id="")) for item in task.items)
        compared = tuple((f.contrast.text, float(f.comparison.p), f.comparison.verdict) for f in rows)
        if compared:
            name = analysis.experiment.name
            lines.append(LedgerLine(run=run, experiment=name, task=task.name, items=items, comparisons=compared))
    return lines


def read_ledger(file: Path) -> list[LedgerLine]:
    """Read a ledger, the last line of each run and task. Lines that cannot be read are dropped, and that is printed."""
    latest: dict[tuple[str, str], LedgerLine] = {}
    broken = 0
    for text in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        try:
            row = json.loads(text)
            rows = tuple((str(name), float(p), str(verdict)) for name, p, verdict in row["comparisons"])
            row |= {"items": tuple(row["items"]), "comparisons": rows}
            latest[row["run"], row["task"]] = LedgerLine(**row)
        except (ValueError, KeyError, TypeError):
            broken += 1
    if broken:
        print(f"{file}: {broken} lines cannot be read and are left out", file=sys.stderr)
    return list(latest.values())


def enter_ledger(analysis: Analysis, run: str, file: Path) -> list[LedgerView]:
    """Append an experiment to the ledger and return what the ledger says of each of its tasks."""
    own = ledger_lines(analysis, run)
    earlier = [line for line in read_ledger(file) if line.run != run]
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "a", encoding="utf-8") as f:
        for line in own:
            f.write(json.dumps(dataclasses.asdict(line), ensure_ascii=False) + "\n")
    return [view_ledger(line, earlier) for line in own]


def view_ledger(line: LedgerLine, others: Sequence[LedgerLine]) -> LedgerView:
    """Judge one experiment's verdicts by Holm over its own comparisons and those of all others on the same items."""
    related = [other for other in others if line.shares_items(other)]
    own = [p for _, p, _ in line.comparisons]
    adjusted = holm([*own, *(p for other in related for _, p, _ in other.comparisons)])[: len(own)]
    claimed = [i for i, (_, _, verdict) in enumerate(line.comparisons) if verdict in ("better", "worse")]
    return LedgerView(
        task=line.task,
        n_experiments=1 + len({other.run for other in related}),
        n_comparisons=len(own) + sum(len(other.comparisons) for other in related),
        claimed=tuple(line.comparisons[i][0] for i in claimed),
        confirmed=tuple(line.comparisons[i][0] for i in claimed if adjusted[i] < ALPHA),
    )
