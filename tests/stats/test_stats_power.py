"""How many pairs are needed: inverses, limits and errors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.core.errors import UserError
from kaiwa.stats.equivalence import tost
from kaiwa.stats.power import (
    pairs_by_gain,
    pairs_for_equivalence,
    pairs_needed,
    power_of_pairs,
    smallest_difference,
)


@given(st.floats(0.02, 0.3), st.floats(0.31, 0.6))
def test_the_pairs_needed_are_the_fewest_with_that_power(p01: float, p10: float) -> None:
    n = pairs_needed(p10, p01)
    assert power_of_pairs(n, p10, p01) >= 0.8 - 1e-9
    assert n == 1 or power_of_pairs(n - 1, p10, p01) < 0.8 + 1e-9


def test_the_side_does_not_matter() -> None:
    assert pairs_needed(0.2, 0.1) == pairs_needed(0.1, 0.2)
    assert power_of_pairs(100, 0.2, 0.1) == pytest.approx(power_of_pairs(100, 0.1, 0.2))


def test_surer_answers_cost_pairs() -> None:
    assert pairs_needed(0.2, 0.1) < pairs_needed(0.2, 0.1, power=0.9) < pairs_needed(0.2, 0.1, power=0.9, level=0.99)


def test_power_at_its_ends() -> None:
    assert power_of_pairs(0, 0.2, 0.1) == pytest.approx(0.05)
    assert power_of_pairs(1000, 0.2, 0.2) == pytest.approx(0.05)
    assert power_of_pairs(10, 1.0, 0.0) == 1.0, "every pair goes one way"
    assert power_of_pairs(100_000, 0.2, 0.1) == pytest.approx(1.0)


@given(st.integers(50, 5000), st.floats(0.1, 0.9))
def test_the_smallest_difference_is_found_with_just_that_power(n: int, discordant: float) -> None:
    d = smallest_difference(n, discordant)
    if d < 1:
        assert 0 < d <= discordant
        assert power_of_pairs(n, (discordant + d) / 2, (discordant - d) / 2) == pytest.approx(0.8, abs=1e-6)


def test_too_few_pairs_find_no_difference_at_all() -> None:
    assert smallest_difference(5, 0.2) == 1.0
    assert smallest_difference(500, 0.2) < smallest_difference(100, 0.2) < 1.0


def test_pairs_for_equivalence_show_it_as_often_as_promised() -> None:
    n = pairs_for_equivalence(0.2, 0.1)
    rng = np.random.default_rng(0)
    shown = [tost(rng.choice([-1, 0, 1], size=n, p=[0.1, 0.8, 0.1]), 0.1).equivalent for _ in range(600)]
    assert np.mean(shown) == pytest.approx(0.8, abs=0.05)


def test_halving_the_margin_needs_four_times_the_pairs() -> None:
    assert pairs_for_equivalence(0.2, 0.05) == pytest.approx(4 * pairs_for_equivalence(0.2, 0.1), abs=4)


def test_gains_of_a_pilot_without_decided_pairs() -> None:
    """Half a pair of 31 is taken as decided; a gain of 10 % makes at least a tenth of the pairs decided."""
    needed = pairs_by_gain(0, 0, 30, gains=(0.1, 1.0))
    assert needed == {0.1: pairs_needed(0.1, 0.0), 1.0: None}
    more = pairs_by_gain(10, 10, 30, gains=(0.1,))[0.1]
    assert more is not None
    assert more > pairs_needed(0.1, 0.0), "pairs that go both ways hide a gain"


@pytest.mark.parametrize(("p10", "p01"), [(0.0, 0.0), (-0.1, 0.2), (0.7, 0.4)])
def test_impossible_shares(p10: float, p01: float) -> None:
    with pytest.raises(UserError, match="shares of decided pairs"):
        pairs_needed(p10, p01)
    with pytest.raises(UserError, match="shares of decided pairs"):
        power_of_pairs(100, p10, p01)


@pytest.mark.parametrize("power", [0.0, 1.0, math.nan])
def test_impossible_power(power: float) -> None:
    with pytest.raises(UserError, match="power"):
        pairs_needed(0.2, 0.1, power=power)
    with pytest.raises(UserError, match="power"):
        pairs_for_equivalence(0.2, 0.1, power=power)


@pytest.mark.parametrize(("won", "lost", "n"), [(0, 0, 0), (-1, 0, 5), (3, 3, 5)])
def test_impossible_pilots(won: int, lost: int, n: int) -> None:
    with pytest.raises(UserError, match="impossible"):
        pairs_by_gain(won, lost, n)
