"""The lab's gates."""

import xml.etree.ElementTree as ElementTree

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.reports.gate import Gate, check_gate, gate_junit, parse_gate, parse_pair_gate
from kaiwa.stats.comparison import lower_bound

A, B = [0.0, 1.0] * 30, [1.0, 1.0] * 30


@pytest.mark.parametrize(
    ("text", "first", "bound"),
    [
        ("B better than A", "B", 0.0),
        ("b is better than a by 2.5 points.", "B", 0.025),
        ("A not worse  than B by at most 3 points", "A", -0.03),
        ("B not worse than A by at least 1 point", "B", -0.01),
    ],
)
def test_sentences(text: str, first: str, bound: float) -> None:
    gate = parse_gate(text)
    assert (gate.first, gate.bound, gate.text) == (first, bound, text)
    assert {gate.first, gate.second} == {"A", "B"}


@pytest.mark.parametrize("text", ["", "B better", "B better than C", "B better than B", "B not worse than A", "B > A"])
def test_other_sentences(text: str) -> None:
    with pytest.raises(UserError, match="gate"):
        parse_gate(text)


def test_other_names_are_for_other_gates() -> None:
    gate = parse_pair_gate("sandwich better than none", "x")
    assert gate == Gate(text="sandwich better than none", first="sandwich", second="none", bound=0.0)
    assert parse_pair_gate("sandwich below 3", "x") is None


def test_the_limit_is_one_sided() -> None:
    result = check_gate(parse_gate("B better than A by 30 points"), A, B)
    assert result.low == lower_bound(A, B)
    assert result.passed
    assert not check_gate(parse_gate("B better than A by 45 points"), A, B).passed
    assert not check_gate(parse_gate("A better than B"), A, B).passed
    assert "B - A is above +39" in result.sentence
    assert "60 items; the gate needs above +30.00" in result.sentence


def test_clusters_cost_certainty() -> None:
    gate = parse_gate("B better than A by 30 points")
    assert check_gate(gate, A, B).passed
    uneven = [0.0] * 30 + [1.0] * 30
    assert not check_gate(gate, uneven, B, clusters=[i // 15 for i in range(60)]).passed


def test_clusters_of_one_mean_are_no_certainty() -> None:
    gate = parse_gate("B better than A by 45 points")
    assert not check_gate(gate, A, B, clusters=[i // 30 for i in range(60)]).passed


def test_junit() -> None:
    failed = check_gate(parse_gate("A better than B"), A, B)
    root = ElementTree.fromstring(gate_junit(failed, "B & A <b>"))
    (case,) = root.iter("testcase")
    assert (root.get("tests"), root.get("failures"), root[0].get("errors")) == ("1", "1", "0")
    assert case.get("name") == "A better than B"
    assert case.find("failure").text == "B & A <b>"  # type: ignore[union-attr]
    assert case.find("system-out").text == "B & A <b>"  # type: ignore[union-attr]
    passed = ElementTree.fromstring(gate_junit(check_gate(parse_gate("B better than A"), A, B), "x"))
    assert passed.find(".//failure") is None
    assert passed.get("failures") == "0"
