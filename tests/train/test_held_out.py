"""Held-out records by prompt."""

from hypothesis import given
from hypothesis import strategies as st

from kaiwa.train.held_out import by_prompt


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(0, 30))
def test_a_prompt_is_on_one_side(prompts: list[int], n: int) -> None:
    items = list(range(len(prompts)))
    training, held_out = by_prompt(items, prompts, n)
    assert sorted(training + held_out) == items
    assert training, "something stays to train on"
    assert not {prompts[i] for i in training} & {prompts[i] for i in held_out}


def test_distinct_prompts_are_cut_at_n() -> None:
    assert by_prompt("abcdef", range(6), 2) == (list("cdef"), list("ab"))
    assert by_prompt("abcdef", [0, 1, 0, 1, 2, 2], 2) == (list("bdef"), list("ac"))
