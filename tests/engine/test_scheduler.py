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
    reused = {id: rng.choice((0, 0, 3, 99)) for id in sizes}
    left = {id: answer for id, (_, answer) in sizes.items()}
    for _ in range(10_000):
        while todo and rng.random() < 0.5:
            id = todo.pop(0)
            scheduler.add(id, *sizes[id])
        if scheduler.waiting and rng.random() < 0.1:
            id = list(scheduler.waiting)[-1]
            assert scheduler.remove(id)
            ended.add(id)
        plan = scheduler.plan(lambda id: None if rng.random() < 0.2 else reused[id])
        held = [*plan.decode, *(id for id, _, _ in plan.prefill)]
        assert len(held) <= max_rows
        assert scheduler.reserved == sum(sum(sizes[id]) for id in held) <= max_tokens
        assert sum(stop - start for _, start, stop in plan.prefill) <= chunk
        for id in plan.decode:
            left[id] -= 1
            if left[id] <= 0:
                assert scheduler.remove(id)
                ended.add(id)
        for place, (id, start, stop) in enumerate(plan.prefill):
            if id not in progress:
                admitted.append(int(id))
                progress[id] = min(reused[id], sizes[id][0] - 1)
            assert start == progress[id] < stop <= sizes[id][0]
            progress[id] = stop
            whole = stop == sizes[id][0]
            assert scheduler.note_prefilled(id, stop) == whole
            assert whole or place == len(plan.prefill) - 1
        if not todo and scheduler.idle:
            break
    assert ended == set(sizes)
    assert admitted == sorted(admitted)
    assert scheduler.reserved == 0


def test_what_never_fits_is_refused() -> None:
    with pytest.raises(UserError, match="holds 10"):
        Scheduler(2, 10).add("a", 8, 3)


def test_a_long_request_is_not_starved() -> None:
    scheduler = Scheduler(4, 20)
    scheduler.add("a", 5, 5)
    scheduler.add("long", 10, 10)
    scheduler.add("short", 1, 1)
    assert scheduler.plan().prefill == (("a", 0, 5),)
    scheduler.note_prefilled("a", 5)
    assert scheduler.plan().prefill == ()  # "long" waits for room, and "short" behind it
    scheduler.remove("a")
    assert scheduler.plan().prefill == (("long", 0, 10),)


def test_what_is_left_of_a_chunk_goes_to_the_next() -> None:
    scheduler = Scheduler(8, 1000, chunk=10)
    for id in "abc":
        scheduler.add(id, 4, 1)
    assert scheduler.plan(lambda id: 1 if id == "b" else 0).prefill == (("a", 0, 4), ("b", 1, 4), ("c", 0, 3))


def test_ten_thousand_wait_and_the_next_is_turned_away() -> None:
    scheduler = Scheduler(2, 100)
    for i in range(10_000):
        scheduler.add(str(i), 1, 1)
    with pytest.raises(UserError, match="try again later"):
        scheduler.add("more", 1, 1)
    for i in range(9_999, -1, -1):
        assert scheduler.remove(str(i))
    assert scheduler.idle
