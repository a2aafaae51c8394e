"""Tree of thought: proposals that are checked, states that are rated."""

from fractions import Fraction

import pytest

from kaiwa.lab.grading.graders import grade
from kaiwa.lab.tasks.reasoning import game_of_24
from kaiwa.lab.tasks.task import Item
from kaiwa.lab.techniques.tree import State, TreeOfThought, parse_proposals, rate_state, state_numbers

from .drive import drive

TASK = game_of_24(n=2, n_demos=1)
ITEM = Item(id="1", input="4 9 10 13", answer="4 9 10 13")


def state(*numbers: int) -> State:
    return tuple((Fraction(n), str(n)) for n in numbers)


def test_proposals_use_numbers_of_the_state_once() -> None:
    found = parse_proposals(state(4, 4, 9), "4 + 4 = 8\n9 - 4 = 5\n9 + 9 = 18\n3 * 4 = 12\n4 ÷ 4 =\nnothing")
    assert [state_numbers(one) for one in found] == [(8, 9), (4, 5), (1, 9)]
    assert found[0][0] == (Fraction(8), "(4 + 4)")
    assert found[2][0] == (Fraction(1), "(4 / 4)")


def test_fractions_and_divisions_by_zero() -> None:
    half: State = ((Fraction(0), "0"), (Fraction(1, 2), "(1 / 2)"), (Fraction(3), "3"))
    (one,) = parse_proposals(half, "1/2 × 3 = 3/2\n3 / 0 = ?")
    assert one[1] == (Fraction(3, 2), "((1 / 2) * 3)")


@pytest.mark.parametrize(
    ("numbers", "text", "rate"),
    [((4, 6), "I am sure.", 2.0), ((4, 6), "Maybe", 1.0), ((4, 6), "impossible", 0.0), ((4, 6), "?", 1.0),
     ((24,), "impossible", 3.0), ((23,), "sure", -1.0)],
)  # fmt: skip
def test_rates(numbers: tuple[int, ...], text: str, rate: float) -> None:
    assert rate_state(tuple(map(Fraction, numbers)), text) == rate


STEPS = {
    "4 9 10 13": "10 - 4 = 6\n13 - 9 = 4\n4 + 9 = 13",
    "6 9 13": "13 - 9 = 4\n6 + 9 = 15",
    "4 6": "4 * 6 = 24",
}


def answer(text: str) -> str:
    numbers = text.split("Numbers: ")[-1].split(".")[0] if "Numbers" in text else text.split("24: ")[-1].split("?")[0]
    if "Numbers" in text:
        return STEPS.get(numbers, "")
    return "sure" if numbers in ("6 9 13", "4 6") else "impossible"


def test_the_best_states_are_kept_until_24_is_reached() -> None:
    result, rounds = drive(TreeOfThought(breadth=1), TASK, ITEM, answer)
    assert result.answer is not None
    assert grade(TASK, ITEM, result.answer).score == 1.0
    assert [len(calls) for calls in rounds] == [1, 3, 1, 2, 1, 1]
    assert result.notes == {"states": 6}


def test_equal_states_are_rated_once() -> None:
    item = Item(id="1", input="2 2 3 4", answer="2 2 3 4")
    _, rounds = drive(
        TreeOfThought(), TASK, item, lambda text: "2 + 2 = 4\n2 * 2 = 4\n2+2=" if "Numbers" in text else "sure"
    )
    assert len(rounds[1]) == 1


def test_a_model_without_proposals_has_no_answer() -> None:
    result, rounds = drive(TreeOfThought(), TASK, ITEM, lambda text: "I do not know.")
    assert (result.answer, result.extracted, len(rounds)) == (None, True, 1)


def test_the_control_is_one_chain() -> None:
    assert list(TreeOfThought().controls()) == ["one chain"]
    assert TreeOfThought().demonstration_answer(TASK, Item(id="1", input="x", answer="a", equation="e")) == "e"
