"""JUnit XML of a matrix: one case per cell and gate, with their states."""

import xml.etree.ElementTree as ElementTree

from kaiwa.lab.reports.gate import GateResult
from kaiwa.redteam.bench.junit import matrix_junit
from kaiwa.redteam.bench.matrix import analyse_trials

from .outcomes import cell, controls


def test_cells_and_gates() -> None:
    parts = [*cell("hit", "none", "ssr"), *cell("held", "none", "rrr"), *controls("held", "sss")]
    parts += [*cell("odd", "none", "nn", why="no <tool>"), *cell("down", "none", "tts"), *cell("weak", "none", "rr")]
    gates = [
        GateResult(text="none below 5 percent", passed=False, sentence="success 50 %"),
        GateResult(text='"x" & y', passed=True, sentence="fine"),
    ]
    root = ElementTree.fromstring(matrix_junit(analyse_trials(parts), gates))
    cases = {case.get("name"): case for case in root.iter("testcase")}
    states = {name: [child.tag for child in case] for name, case in cases.items()}
    assert states == {
        "none below 5 percent": ["failure", "system-out"],
        '"x" & y': ["system-out"],
        "hit under none": ["failure"],
        "held under none": [],
        "odd under none": ["skipped"],
        "down under none": ["error"],
        "weak under none": ["skipped"],
    }
    assert cases["odd under none"][0].get("message") == "not applicable no <tool>"
    assert cases["hit under none"][0].get("message") == ("2 of 3 trials succeeded, 95 % interval 20.8% to 93.9%")
    assert cases["down under none"][0].get("message", "").startswith("2 trials failed: ")
    assert [suite.get("name") for suite in root] == ["kaiwa redteam gates", "kaiwa redteam m"]
    assert {k: root[1].get(k) for k in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5", "failures": "1", "errors": "1", "skipped": "2"
    }  # fmt: skip


def test_a_suite_per_model_and_none_for_no_gates() -> None:
    root = ElementTree.fromstring(
        matrix_junit(analyse_trials(cell("a", "none", "s") + cell("a", "none", "s", model="n")))
    )
    assert [suite.get("name") for suite in root] == ["kaiwa redteam m", "kaiwa redteam n"]
