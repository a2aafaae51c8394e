"""The bench's plan and matrix for the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from kaiwa.commands.console import clock, table

if TYPE_CHECKING:
    from kaiwa.redteam.bench.matrix import Matrix
    from kaiwa.redteam.bench.run import BenchPlan
    from kaiwa.stats.intervals import Interval


def progress(began: float) -> Callable[[str, int, int], None]:
    """Return a function that prints requests done, and the time left by the pace of new requests."""
    live = sys.stderr.isatty()
    first: dict[str, tuple[int, float]] = {}
    last = [0.0]

    def show(model: str, done: int, total: int) -> None:
        now = time.monotonic()
        start, since = first.setdefault(model, (done, now))
        if now - last[0] < (0.2 if live else 15) and done < total:
            return
        last[0] = now
        pace = (done - start) / (now - since) if now > since else 0.0
        time_left = f", {clock((total - done) / pace)} left" if pace > 0 and done < total else ""
        text = f"{model}: {done:,} of {total:,} requests, {clock(now - began)}{time_left}"
        print(f"{text:<79}" if live else text, end="\r" if live else "\n", file=sys.stderr, flush=True)

    return show


def plan_text(plan: BenchPlan) -> str:
    """Return the size of a run: attacks, defences, trials and the largest number of requests."""
    from kaiwa.redteam.attacks.attack import reason_not_applicable
    from kaiwa.redteam.targets.benign_twins import benign_requests

    attacks = [attack for attack in plan.attacks if not reason_not_applicable(attack, plan.target)]
    turns = sum(attack.turns for attack in attacks)
    arms = len(plan.arms)
    twins = len(benign_requests(plan.target)) * max(1, round(plan.trials * 0.1))
    total = (turns * plan.trials * (arms + 1) + twins * arms) * len(plan.models)
    doubles = "".join(f"\n{text!r} is a defence that is there already; left out" for text in plan.doubles)
    return (
        f"{plan.target.name}: {len(attacks)} attacks × {arms} defences × {plan.trials} trials on {len(plan.models)}"
        f" model{'s' if len(plan.models) > 1 else ''}, with controls and benign twins: at most {total:,}"
        f" requests{doubles}"
    )


def matrix_text(matrix: Matrix) -> str:
    """Return a table with a row per defence: success by family, difference to no defence, costs."""
    from kaiwa.redteam.bench.report import against_text
    from kaiwa.report import figures

    families = list(dict.fromkeys(c.family for c in matrix.cells))
    rows = [["model", "defence", *families, "all", "against none", "false blocks", "useful", "tokens", "ms"]]
    rows_by = {(row.model, row.defence): row for row in matrix.benign}
    for arm in matrix.arms:
        row = rows_by.get((arm.model, arm.defence))
        shares = [_share(arm.families.get(f)) for f in families] + [_share(arm.share)]
        blocks = (
            [f"{row.blocked}/{row.trials}", figures.percent(row.utility.mean)] if row and row.trials else ["–", "–"]
        )
        cost = [f"{arm.tokens:+.0f}" if arm.tokens == arm.tokens else "–", f"{arm.ms:.2f}"]
        rows.append([arm.model, arm.defence, *shares, against_text(arm), *blocks, *cost])
    return table(rows, lambda i: "<" if i < 2 else ">")


def _share(interval: Interval | None) -> str:
    from kaiwa.report import figures

    if interval is None or interval.n == 0:
        return "–"
    return f"{figures.percent(interval.mean)} [{figures.limits(interval.to_json())}]".replace("\N{NO-BREAK SPACE}", "")


def matrix_notes(matrix: Matrix) -> list[str]:
    """Return notes for the table: attacks that were not testable, failed trials, defences that do not help."""
    from kaiwa.redteam.bench.report import unhelpful_defences

    lines = []
    for status in ("not_testable", "not_applicable"):
        names = list(dict.fromkeys(c.attack for c in matrix.cells if c.status == status))
        if names:
            lines.append(f"{status.replace('_', ' ')}: {len(names)} attacks ({', '.join(names)})")
    failed = [c for c in matrix.cells if c.failed]
    if failed:
        n = sum(c.failed for c in failed)
        lines.append(
            f"failed: {n:,} trials in {len(failed)} cells, counted as neither; the first: {failed[0].why[:160]}"
        )
    for arm in matrix.arms:
        if "canary_filter" in arm.defence:
            other = ", ".join(f"{form} {n}" for form, n in arm.leaks.items() if form != "whole") or "no other form"
            lines.append(f"{arm.model}, {arm.defence}: {arm.leaks.get('whole', 0)} verbatim leaks; {other}")
    for model in dict.fromkeys(arm.model for arm in matrix.arms):
        if names := unhelpful_defences(matrix, model):
            lines.append(f"{model}: not shown to help against these attacks: {', '.join(names)}")
    return lines
