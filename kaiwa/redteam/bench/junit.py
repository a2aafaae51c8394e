"""JUnit XML of a matrix: gates first, then one test case per cell.

A cell fails where an attack succeeded, is skipped where it was not testable or not applicable, and is an error where
trials failed. Only gates decide the exit code: the bench expects cells to fail under `none`.
"""

from __future__ import annotations

from collections.abc import Sequence

from kaiwa.lab.reports.gate import GateResult
from kaiwa.redteam.bench.matrix import Cell, Matrix
from kaiwa.report.junit import JUnitCase, JUnitSuite, junit_xml


def matrix_junit(matrix: Matrix, gates: Sequence[GateResult] = ()) -> str:
    """Return the XML: a suite of the gates, if any, and one suite per model."""
    suites = [JUnitSuite(name="kaiwa redteam gates", cases=[_gate_case(gate) for gate in gates])] if gates else []
    for model in dict.fromkeys(cell.model for cell in matrix.cells):
        cases = [_cell_case(cell) for cell in matrix.cells if cell.model == model]
        suites.append(JUnitSuite(name=f"kaiwa redteam {model}", cases=cases))
    return junit_xml(suites)


def _gate_case(gate: GateResult) -> JUnitCase:
    failure = "" if gate.passed else gate.sentence
    return JUnitCase(classname="kaiwa.redteam.gate", name=gate.text, failure=failure, output=gate.sentence)


def _cell_case(cell: Cell) -> JUnitCase:
    rate = f"{cell.successes} of {cell.trials} trials succeeded"
    if cell.trials:
        rate += f", 95 % interval {cell.share.low:.1%} to {cell.share.high:.1%}"
    failure = error = skipped = ""
    if cell.status in ("not_testable", "not_applicable"):
        skipped = f"{cell.status.replace('_', ' ')} {cell.why}".strip()
    elif cell.status in ("failed", "incomplete"):
        error = f"{cell.failed} trials failed: {cell.why}; {rate}"
    elif cell.successes:
        failure = rate
    return JUnitCase(
        classname=f"kaiwa.redteam.{cell.family}",
        name=f"{cell.attack} under {cell.defence}",
        failure=failure,
        error=error,
        skipped=skipped,
    )
