"""Failed items are counted against the verdict."""

import pytest

from kaiwa.stats.comparison import compare
from kaiwa.stats.failures import add_failures, withhold_for_failures


@pytest.mark.parametrize(
    ("a", "b", "n_failed", "verdict"),
    [
        ([0] * 20 + [1] * 20, [1] * 40, 0, "better"),
        ([0] * 20 + [1] * 20, [1] * 40, 3, "better"),
        ([0] * 20 + [1] * 20, [1] * 40, 40, "failed"),
        ([1] * 40, [0] * 20 + [1] * 20, 40, "failed"),
        ([1] * 40, [0] * 20 + [1] * 20, 3, "worse"),
        ([1, 0] * 300, [1, 0] * 300, 1, "same"),
        ([1, 0] * 300, [1, 0] * 300, 60, "failed"),
        ([1, 0], [0, 1], 5, "unknown"),
    ],
)
def test_a_verdict_must_survive_them(a: list[float], b: list[float], n_failed: int, verdict: str) -> None:
    found = withhold_for_failures(compare(a, b), a, b, n_failed)
    assert (found.verdict, found.n_failed) == (verdict, n_failed)


def test_scores_go_as_far_as_they_were_seen_to() -> None:
    a, b, ids = add_failures([2.0], [-1.0], 1, b_loses=True, clusters=["x"])
    assert (a, b) == ([2.0, 2.0], [-1.0, -1.0])
    assert ids == ["x", ("failed", 0)]
