"""The winner's curse."""

import numpy as np
import pytest

from kaiwa.core.errors import UserError
from kaiwa.stats.selection import Winner, shrink_winner


def test_without_noise_there_is_no_optimism() -> None:
    assert shrink_winner([[0.0] * 5, [1.0] * 5, [0.5] * 5], resamples=50) == Winner(1, 1.0, 0.0)


def test_the_first_of_equals_wins() -> None:
    assert shrink_winner([[1, 0], [0, 1], [1, 0]], resamples=50).index == 0


def test_a_clear_winner_is_hardly_shrunk_and_one_of_many_equals_is() -> None:
    rng = np.random.default_rng(0)
    low = (rng.random((20, 100)) < 0.2).astype(float)
    clear = np.vstack([(rng.random(100) < 0.9).astype(float), low])
    equals = shrink_winner(low, resamples=400)
    assert shrink_winner(clear, resamples=400).optimism < 0.01
    assert equals.optimism > 0.03
    assert equals.shrunk == pytest.approx(equals.observed - equals.optimism)


def test_optimism_of_two_worked_by_hand() -> None:
    """Two candidates, two items, one right each. Resamples: both items alike, either way (1/2): the best has 1; one of
    each (1/2): .5. So the best looks like .75 where it is .5."""
    winner = shrink_winner([[1, 0], [0, 1]], resamples=4000)
    assert winner.observed == 0.5
    assert winner.optimism == pytest.approx(0.25, abs=0.02)


def test_the_seed_decides_the_resamples() -> None:
    table = np.random.default_rng(1).random((5, 30))
    one, same, other = (shrink_winner(table, resamples=100, seed=seed) for seed in (3, 3, 4))
    assert one == same
    assert one.optimism != other.optimism


@pytest.mark.parametrize("table", [[[]], np.zeros((0, 3)), [1.0, 2.0], np.zeros((2, 2, 2))])
def test_a_table_is_needed(table: object) -> None:
    with pytest.raises(UserError, match="candidates by items"):
        shrink_winner(table)  # type: ignore[arg-type]
