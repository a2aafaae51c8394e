"""Looking back, against looking through the whole text."""

from hypothesis import given
from hypothesis import strategies as st

from kaiwa.engine.prompt_lookup import GRAM, PromptLookup


@given(st.lists(st.integers(0, 2), max_size=40), st.integers(1, 5))
def test_it_finds_the_latest_place(ids: list[int], n: int) -> None:
    expected: list[int] = []
    for place in range(GRAM, len(ids)):
        if ids[place - GRAM : place] == ids[-GRAM:]:
            expected = ids[place : place + n]
    assert PromptLookup(ids).guess(n) == expected
