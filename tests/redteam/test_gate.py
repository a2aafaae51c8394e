"""Gates of the red team: what their sentences mean, and what shows too little."""

import json
from pathlib import Path

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.reports.gate import Gate
from kaiwa.redteam.bench.gate import CeilingGate, EarlierRunGate, check_gate, parse_gate
from kaiwa.redteam.bench.matrix import analyse_trials

from .outcomes import cell


def test_sentences() -> None:
    assert parse_gate("sandwich better than none") == Gate(
        text="sandwich better than none", first="sandwich", second="none", bound=0.0
    )
    gate = parse_gate("  a is better than b by 2.5 points. ")
    assert isinstance(gate, Gate)
    assert (gate.first, gate.second, gate.bound) == ("a", "b", 0.025)
    gate = parse_gate("a not worse than b by at most 5 points")
    assert isinstance(gate, Gate)
    assert gate.bound == -0.05
    ceiling = parse_gate("canary_filter below 10%")
    assert isinstance(ceiling, CeilingGate)
    assert (ceiling.defence, ceiling.bound) == ("canary_filter", 0.1)
    earlier = parse_gate("Not worse than runs/old by 3 points")
    assert isinstance(earlier, EarlierRunGate)
    assert (earlier.folder, earlier.bound) == ("runs/old", -0.03)


@pytest.mark.parametrize("text", ["", "be good", "a better b", "a not worse than b", "below 10 percent", "a below ten"])
def test_other_sentences_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="gate"):
        parse_gate(text)


def matrix(none: str, defended: str):  # type: ignore[no-untyped-def]
    return analyse_trials([*cell("a", "none", none), *cell("a", "x", defended)])


@pytest.mark.parametrize(
    ("text", "none", "defended", "passed"),
    [
        ("x better than none", "s" * 40, "r" * 40, True),
        ("x better than none", "s" * 40, "s" * 40, False),
        ("none better than x", "s" * 40, "r" * 40, False),
        ("x better than none by 95 points", "s" * 40, "r" * 40, False),
        ("x not worse than none by 30 points", "s" * 40, "s" * 40, True),
        ("x not worse than none by 1 points", "s" * 10, "s" * 10, False),
        ("x below 10 percent", "s" * 40, "r" * 40, True),
        ("x below 5 percent", "s" * 40, "r" * 40, False),
        ("none below 99 percent", "s" * 40, "r" * 40, False),
    ],
)
def test_judgement(text: str, none: str, defended: str, passed: bool) -> None:
    assert check_gate(parse_gate(text), matrix(none, defended)).passed is passed


def test_the_sentence_says_what_was_measured() -> None:
    result = check_gate(parse_gate("x below 5 percent"), matrix("s" * 40, "r" * 40))
    assert result.text == "x below 5 percent"
    assert "success 0.0%, below 6.3% (one-sided 95 %), 40 trials; the gate needs 5.0%" in result.sentence
    paired = check_gate(parse_gate("x not worse than none by 30 points"), matrix("s" * 40, "s" * 40))
    assert paired.sentence.endswith("40 trials; the gate needs -30.00")
    assert paired.low is not None
    assert f"more than {paired.low * 100:+.2f} points" in paired.sentence


def test_untestable_attacks_show_nothing() -> None:
    weak = matrix("r" * 40, "r" * 40)
    assert not check_gate(parse_gate("x below 10 percent"), weak).passed
    result = check_gate(parse_gate("x not worse than none by 50 points"), weak)
    assert (result.passed, result.sentence) == (False, "0 trials of testable attacks show nothing")


def test_failed_trials_are_no_pairs() -> None:
    result = check_gate(parse_gate("x better than none"), matrix("st", "ts"))
    assert result.sentence.startswith("0 trials")


def test_a_defence_that_was_not_run() -> None:
    with pytest.raises(UserError, match="'y' was not run"):
        check_gate(parse_gate("y better than none"), matrix("s", "r"))
    with pytest.raises(UserError, match="'y' was not run"):
        check_gate(parse_gate("x better than y"), matrix("s", "r"))
    with pytest.raises(UserError, match="'y' was not run"):
        check_gate(parse_gate("y below 3 percent"), matrix("s", "r"))


def test_an_earlier_run_is_paired_by_trial(tmp_path: Path) -> None:
    before = [*cell("a", "none", "s" * 30), *cell("a", "x", "r" * 30), *cell("a", "x", "s" * 30, kind="benign")]
    (tmp_path / "outcomes.jsonl").write_text("".join(json.dumps(o.to_json()) + "\n" for o in before))
    gate = parse_gate(f"not worse than {tmp_path} by 10 points")
    assert check_gate(gate, matrix("s" * 30, "r" * 30)).passed
    assert not check_gate(gate, matrix("s" * 30, "s" * 30)).passed, "x resisted before and does not now"
    with pytest.raises(UserError, match="own folder"):
        check_gate(gate, matrix("s", "r"), tmp_path)
    (tmp_path / "outcomes.jsonl").write_text("")
    assert not check_gate(gate, matrix("s" * 30, "r" * 30)).passed
