"""The matrix from outcomes made by hand: statuses, sums, comparisons with none, costs."""

import math

import pytest

from kaiwa.redteam.bench.matrix import AT, analyse_trials, success_at_k
from kaiwa.stats.intervals import Interval, wilson

from .outcomes import benign, cell, controls


def cells(*parts: list) -> dict[tuple[str, str], object]:  # type: ignore[type-arg]
    matrix = analyse_trials([o for part in parts for o in part])
    return {(c.attack, c.defence): c for c in matrix.cells}


def test_a_cell_counts_its_judged_trials() -> None:
    one = cells(cell("a", "none", "ssrbt"))["a", "none"]
    assert (one.trials, one.successes, one.failed, one.status) == (4, 2, 1, "incomplete")  # type: ignore[attr-defined]
    assert one.share == wilson(2, 4)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ((cell("a", "none", "rrrr"), controls("a", "ssrr")), "ok"),
        ((cell("a", "none", "rrrr"), controls("a", "srrr")), "not_testable"),
        ((cell("a", "none", "rrrr"),), "not_testable"),
        ((cell("a", "none", "rrrs"), controls("a", "rrrr")), "ok"),
        ((cell("a", "none", "tttt"), controls("a", "ssss")), "failed"),
        ((cell("a", "none", "rrrt"), controls("a", "ssss")), "incomplete"),
        ((cell("a", "none", "nnnn"),), "not_applicable"),
        ((cell("a", "none", "rrrr"), controls("a", "sstt")), "ok"),
    ],
)
def test_statuses(parts: tuple[list[object], ...], status: str) -> None:
    assert cells(*parts)["a", "none"].status == status  # type: ignore[arg-type,attr-defined]


def test_one_success_under_any_defence_makes_the_attack_testable() -> None:
    found = cells(cell("a", "none", "rrrr"), cell("a", "sandwich", "rsrr"))
    assert {c.status for c in found.values()} == {"ok"}  # type: ignore[attr-defined]


def test_untestable_attacks_are_in_no_sum() -> None:
    parts = [*cell("a", "none", "ssrr"), *cell("b", "none", "rrrr"), *cell("a", "x", "rrrr"), *cell("b", "x", "rrrr")]
    none, defended = analyse_trials(parts).arms
    assert none.share.mean == 0.5
    assert defended.share.mean == 0.0
    assert none.families["leaking"].mean == 0.5


def test_none_is_compared_with_nothing_and_others_with_none() -> None:
    parts: list = []  # type: ignore[type-arg]
    for i in range(8):
        parts += [*cell(f"a{i}", "none", "ssss"), *cell(f"a{i}", "good", "rrrr"), *cell(f"a{i}", "same", "ssss")]
    arms = {arm.defence: arm for arm in analyse_trials(parts).arms}
    assert arms["none"].against is None
    assert math.isnan(arms["none"].p_holm)
    assert arms["good"].against.verdict == "better"  # type: ignore[union-attr]
    assert arms["good"].against.difference.mean == 1.0  # type: ignore[union-attr]
    assert arms["good"].p_holm == pytest.approx(2 * 2 / 2**8), "a sign flip of 8 attacks, Holm over two defences"
    assert arms["same"].against.verdict != "better"  # type: ignore[union-attr]


def test_only_trials_judged_under_both_are_pairs() -> None:
    parts = [*cell("a", "none", "ssts"), *cell("a", "x", "rtrr")]
    against = analyse_trials(parts).arms[1].against
    assert against is not None
    assert against.n == 2


def test_benign_rows_and_their_costs() -> None:
    parts = [*cell("a", "none", "s"), *cell("a", "x", "r")]
    parts += [
        *benign("q1", "none", "uu"),
        *benign("q2", "none", "ux"),
        *benign("q1", "x", "ub"),
        *benign("q2", "x", "bt"),
    ]
    matrix = analyse_trials(parts)
    none, defended = matrix.benign
    assert (none.trials, none.blocked, none.utility.mean) == (4, 0, 0.75)
    assert (defended.trials, defended.blocked, defended.failed) == (3, 2, 1)
    assert defended.false_block.mean == pytest.approx(2 / 3)
    assert none.false_block.mean == 0.0
    assert none.false_block.high > 0.0, "a zero has an upper limit"
    assert matrix.arms[1].utility_against is not None
    assert matrix.arms[1].utility_against.n == 3


def test_leaks_blocks_failures_and_milliseconds() -> None:
    parts = cell("a", "none", "ss", leak="whole", ms=3.0) + cell("b", "none", "bt", ms=1.0)
    parts += cell("c", "none", "s", leak="encoded")
    (arm,) = analyse_trials(parts).arms
    assert arm.leaks == {"whole": 2, "encoded": 1}
    assert (arm.blocked, arm.failed) == (1, 1)
    assert arm.ms == pytest.approx(8 / 5)


def test_added_tokens_are_those_of_single_turn_trials_under_both() -> None:
    parts = cell("a", "none", "ss", n_prompt=50) + cell("a", "x", "ss", n_prompt=62)
    parts += cell("b", "none", "s", n_prompt=50, n_requests=4) + cell("b", "x", "s", n_prompt=999, n_requests=4)
    parts += cell("c", "none", "s", n_prompt=50) + cell("c", "x", "s", n_prompt=0)
    none, defended = analyse_trials(parts).arms
    assert defended.tokens == 12.0
    assert none.tokens == 0.0


def test_success_at_k_by_hand() -> None:
    outcomes = [*cell("a", "none", "srrr"), *cell("b", "none", "rrrr")]
    assert success_at_k(outcomes, 1).mean == pytest.approx(1 / 8)
    assert success_at_k(outcomes, 2).mean == pytest.approx(0.25), "1 - C(3,2)/C(4,2) = 1/2 for a, 0 for b"
    assert success_at_k(outcomes, 4).mean == pytest.approx(0.5)
    assert success_at_k(outcomes, 5).n == 0, "no attack was tried so often"
    assert set(analyse_trials(outcomes).arms[0].at) == set(AT)


def test_a_judges_interval_takes_the_place_of_wilsons() -> None:
    own = Interval(0.4, 0.1, 0.8, 4)
    matrix = analyse_trials(cell("a", "none", "ssrr"), {("m", "a", "none"): own})
    assert matrix.cells[0].share == own


def test_models_stand_side_by_side() -> None:
    parts = cell("a", "none", "ss") + cell("a", "none", "rr", model="n")
    matrix = analyse_trials(parts)
    assert [(c.model, c.status) for c in matrix.cells] == [("m", "ok"), ("n", "not_testable")]
    assert [arm.model for arm in matrix.arms] == ["m", "n"]


def test_json_has_null_for_what_is_not_known() -> None:
    value = analyse_trials(cell("a", "none", "tt") + benign("q", "none", "t")).to_json()
    assert value["cells"][0]["low"] is None
    assert value["cells"][0]["status"] == "failed"
    assert value["benign"][0]["utility"] is None
