"""The Game of 24, against known games."""

from fractions import Fraction
from itertools import permutations

import pytest

from kaiwa.lab.tasks.game24 import apply_operator, can_reach_24
from kaiwa.lab.tasks.reasoning import game_of_24


def game(*numbers: int) -> bool:
    return can_reach_24(tuple(map(Fraction, numbers)))


@pytest.mark.parametrize(
    "numbers", [(4, 9, 10, 13), (1, 1, 4, 6), (3, 3, 8, 8), (1, 5, 5, 5), (24,), (12, 2), (2, 3, 4)]
)
def test_games_that_can_be_won(numbers: tuple[int, ...]) -> None:
    assert game(*numbers)


@pytest.mark.parametrize("numbers", [(1, 1, 1, 1), (1, 1, 1, 2), (13, 13, 13, 13), (7,), (5, 5)])
def test_games_that_cannot(numbers: tuple[int, ...]) -> None:
    assert not game(*numbers)


def test_the_order_of_the_numbers_does_not_matter() -> None:
    assert all(game(*numbers) for numbers in permutations((3, 3, 8, 8)))


def test_exact_fractions_and_no_division_by_zero() -> None:
    one, three = Fraction(1), Fraction(3)
    assert apply_operator(one, "÷", three) == Fraction(1, 3)
    assert apply_operator(one, "/", Fraction(0)) is None
    assert [apply_operator(three, sign, one) for sign in "+-×"] == [4, 2, 3]


def test_generated_games_can_all_be_won() -> None:
    task = game_of_24(n=6, n_demos=2)
    for item in (*task.items, *task.demos):
        numbers = tuple(map(int, item.input.split()))
        assert len(numbers) == 4
        assert game(*numbers)
