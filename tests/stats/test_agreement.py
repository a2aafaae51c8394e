"""Agreement of rankings against a slow double loop, and the biases that an owner looks for."""

import random
from itertools import combinations

import numpy as np
import pytest

from kaiwa.core.errors import UserError
from kaiwa.stats.agreement import agreement, first_shown_share, longer_preferred_share, pair_signs
from kaiwa.stats.shares import clustered_share, clustered_shares


def random_ranks(rng: random.Random, n: int, k: int) -> list[list[int]]:
    rows = []
    for _ in range(n):
        places = [rng.randrange(k) for _ in range(k)]
        rows.append([sum(other < place for other in places) for place in places])
    return rows


def slow_counts(a: list[int], b: list[int]) -> tuple[int, int]:
    """Pairs that both decide alike, and pairs that both decide, one by one."""
    agree = decided = 0
    for i, j in combinations(range(len(a)), 2):
        if a[i] != a[j] and b[i] != b[j]:
            decided += 1
            agree += (a[i] < a[j]) == (b[i] < b[j])
    return agree, decided


@pytest.mark.parametrize("k", [2, 4, 9])
def test_agreement_equals_the_double_loop(k: int) -> None:
    rng = random.Random(k)
    a, b = random_ranks(rng, 40, k), random_ranks(rng, 40, k)
    counts = [slow_counts(x, y) for x, y in zip(a, b, strict=True)]
    slow = sum(agree for agree, _ in counts) / sum(decided for _, decided in counts)
    fast = agreement(a, b)
    assert abs(fast.mean - slow) < 1e-9
    assert fast.n == sum(decided > 0 for _, decided in counts)  # rankings are the units
    whole = clustered_share([c[0] for c in counts], [c[1] for c in counts])
    assert abs(fast.low - whole.low) + abs(fast.high - whole.high) < 1e-9


def test_many_groups_at_once_equal_one_at_a_time() -> None:
    rng = np.random.default_rng(0)
    trials = rng.integers(0, 15, 300).astype(float)
    hits, group = rng.binomial(trials.astype(int), 0.7).astype(float), rng.integers(0, 7, 300)
    for g, share in enumerate(clustered_shares(hits, trials, group, 8)):
        alone = clustered_share(hits[group == g].tolist(), [int(n) for n in trials[group == g]])
        assert share.n == alone.n
        if alone.n:
            assert abs(share.mean - alone.mean) + abs(share.low - alone.low) + abs(share.high - alone.high) < 1e-9


def test_intervals_count_rankings_not_pairs() -> None:
    """36 pairs of one ranking are one observation: the interval is wider than one over pairs would be."""
    a, b = [list(range(9))] * 10, [list(range(9))] * 5 + [list(range(8, -1, -1))] * 5
    share = agreement(a, b)
    assert (share.mean, share.n) == (0.5, 10)
    assert share.high - share.low > 0.5


def test_position_bias_and_length_preference() -> None:
    rng = random.Random(0)
    fair = first_shown_share(random_ranks(rng, 3000, 4))
    assert fair.low < 0.25 < fair.high
    assert first_shown_share([[0, 1, 2]] * 30).mean == 1.0
    assert first_shown_share([[0, 0, 2]] * 30).mean == 0.5  # a shared first place counts its part
    assert longer_preferred_share([[0, 1, 2]] * 20, [[30, 20, 20]] * 20).mean == 1.0
    assert longer_preferred_share([[2, 1, 0]] * 20, [[30, 20, 10]] * 20).mean == 0.0
    assert longer_preferred_share([[0, 0]] * 20, [[30, 20]] * 20).n == 0


def test_lists_of_other_shapes_are_refused() -> None:
    with pytest.raises(UserError, match="1 dimensions"):
        pair_signs([0, 1, 2])
