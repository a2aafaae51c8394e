"""Schedules at hand-worked points."""

import pytest

from kaiwa.train.schedule import cosine, flat_then_linear, warmup


def test_warmup() -> None:
    assert [warmup(s, 4) for s in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert warmup(0, 0) == 1


def test_cosine_ends_at_its_floor() -> None:
    assert cosine(0, 11, 0, 0.1) == 1
    assert cosine(5, 11, 0, 0.1) == pytest.approx(0.55)
    assert cosine(10, 11, 0, 0.1) == pytest.approx(0.1)


def test_flat_then_linear() -> None:
    values = [flat_then_linear(s, 10, 2, 0.5, 0.2) for s in range(10)]
    assert values[:5] == [0.5, 1, 1, 1, 1]
    assert values[5:] == pytest.approx([1, 0.8, 0.6, 0.4, 0.2])
