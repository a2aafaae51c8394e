"""The scheduler alone: nothing is lost, nobody jumps the queue, limits hold."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaiwa.core.errors import UserError
from kaiwa.engine.scheduler import Scheduler

requests = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 20)), min_size=1, max_size=25)


@given(requests, st.integers(1, 5), st.integers(50, 90), st.integers(1, 16), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_every_request_is_served_in_order(
    wanted: list[tuple[int, int]], max_rows: int, max_tokens: int, chunk: int, rng: Random
) -> None:
    scheduler = Scheduler(max_rows, max_tokens, chunk)
    sizes = {str(i): size for i, size in enumerate(wanted)}
    todo, admitted, ended = list(sizes), [], set()
    progress: dict[str, int] = {}
    left = {id: answer for id, (_, answer) in sizes.items()}
    for _ in range(10_000):
        while todo and rng.random() < 0.5:
            id = todo.pop(0)
            scheduler.add(id, *sizes[id])
        if scheduler.waiting and rng.random() < 0.1:
            id = scheduler.waiting[-1].id
            assert scheduler.remove(id)
            ended.add(id)
        plan = scheduler.plan()
        assert len(plan.decode) + (plan.prefill is not None) <= max_rows
        held = [*plan.decode, *([plan.prefill[0]] if plan.prefill else [])]
        assert scheduler.held == sum(sum(sizes[id]) for id in held) <= max_tokens
        for id in plan.decode:
            left[id] -= 1
            if left[id] <= 0:
                assert scheduler.remove(id)
                ended.add(id)
        if plan.prefill is not None:
            id, start, stop = plan.prefill
            if start == 0:
                admitted.append(int(id))
            assert start == progress.get(id, 0) < stop <= min(sizes[id][0], start + chunk)
            progress[id] = stop
            assert scheduler.prefilled(id, stop) == (stop == sizes[id][0])
        if not todo and scheduler.idle:
            break
    assert ended == set(sizes)
    assert admitted == sorted(admitted)
    assert scheduler.held == 0


def test_what_never_fits_is_refused() -> None:
    with pytest.raises(UserError, match="holds 10"):
        Scheduler(2, 10).add("a", 8, 3)


def test_a_long_request_is_not_starved() -> None:
    scheduler = Scheduler(4, 20)
    scheduler.add("a", 5, 5)
    scheduler.add("long", 10, 10)
    scheduler.add("short", 1, 1)
    plan = scheduler.plan()
    assert plan.prefill is not None
    scheduler.prefilled("a", 5)
    assert scheduler.plan().prefill is None  # "long" waits for room, and "short" behind it
    scheduler.remove("a")
    plan = scheduler.plan()
    assert plan.prefill == ("long", 0, 10)
