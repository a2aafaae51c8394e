"""JUnit XML of a matrix: gates first, then a test case a cell.

A cell fails where an attack succeeded, is skipped where it was not testable or not applicable, and is an error where
trials failed. Only gates decide the exit code: a cell that fails under `none` is what the bench is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from kaiwa.redteam.bench.gate import Judged
from kaiwa.redteam.bench.matrix import Cell, Matrix


def junit(matrix: Matrix, judged: Sequence[Judged] = ()) -> str:
    gates = [_gate(one) for one in judged]
    cells = [_cell(cell) for cell in matrix.cells]
    suites = [_suite("gates", gates)] if gates else []
    for model in dict.fromkeys(cell.model for cell in matrix.cells):
        suites.append(_suite(model, [made for made, c in zip(cells, matrix.cells, strict=True) if c.model == model]))
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>{"".join(suites)}</testsuites>\n'


def _suite(name: str, cases: Sequence[str]) -> str:
    counts = " ".join(
        f'{what}="{sum(mark in case for case in cases)}"'
        for what, mark in (("failures", "<failure"), ("errors", "<error"), ("skipped", "<skipped"))
    )
    head = f'<testsuite name={quoteattr("kaiwa redteam " + name)} tests="{len(cases)}" {counts}>'
    return f"{head}{''.join(cases)}</testsuite>"


def _gate(one: Judged) -> str:
    body = "" if one.passed else f"<failure message={quoteattr(one.told)}/>"
    out = f"<system-out>{escape(one.told)}</system-out>"
    return f'<testcase classname="kaiwa.redteam.bench.gate" name={quoteattr(one.gate.text)}>{body}{out}</testcase>'


def _cell(cell: Cell) -> str:
    name = f"{cell.attack} under {cell.defence}"
    told = f"{cell.successes} of {cell.trials} trials succeeded"
    if cell.trials:
        told += f", 95 % interval {cell.share.low:.1%} to {cell.share.high:.1%}"
    if cell.status in ("not_testable", "not_applicable"):
        body = f"<skipped message={quoteattr(' '.join((cell.status.replace('_', ' '), cell.why)).strip())}/>"
    elif cell.status in ("failed", "incomplete"):
        body = f"<error message={quoteattr(f'{cell.failed} trials failed: {cell.why}; {told}')}/>"
    else:
        body = f"<failure message={quoteattr(told)}/>" if cell.successes else ""
    return f"<testcase classname={quoteattr('kaiwa.redteam.' + cell.family)} name={quoteattr(name)}>{body}</testcase>"
