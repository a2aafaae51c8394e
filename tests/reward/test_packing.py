"""A prompt and its completions in one row: places, positions and who sees whom, by hand and by rule."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.reward.comparisons import shortened
from kaiwa.reward.packing import PromptRow, pack_prompts

tokens = st.lists(st.integers(1, 9), min_size=1, max_size=5)
rows = st.lists(st.builds(PromptRow, tokens, st.lists(tokens, min_size=1, max_size=4)), min_size=1, max_size=3)


def test_by_hand() -> None:
    packed = pack_prompts([PromptRow([1, 2], [[3, 4], [5]]), PromptRow([6], [[7]])], pad=0, multiple=1)
    assert packed.ids.tolist() == [[1, 2, 3, 4, 5], [6, 7, 0, 0, 0]]
    assert packed.positions.tolist() == [[0, 1, 2, 3, 2], [0, 1, 0, 0, 0]]
    assert packed.ends.tolist() == [[0, 3], [0, 4], [1, 1]]
    assert packed.mask[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],  # the second completion sees the prompt and itself, not the first
    ]
    assert len(PromptRow([1, 2], [[3, 4], [5]])) == 5


@given(rows, st.integers(1, 16))
def test_widths_are_rounded_up_and_nothing_attends_across(items: list[PromptRow], multiple: int) -> None:
    packed = pack_prompts(items, 0, multiple=multiple)
    width = packed.ids.shape[1]
    longest = max(map(len, items))
    assert width % multiple == 0
    assert longest <= width < longest + multiple
    at_end = iter(packed.ends.tolist())
    for row, item in enumerate(items):
        at = len(item.prompt)
        assert packed.ids[row, :at].tolist() == list(item.prompt)
        for completion in item.completions:
            end = at + len(completion)
            assert next(at_end) == [row, end - 1]
            assert packed.ids[row, at:end].tolist() == list(completion)
            for i in range(at, end):
                seen = torch.nonzero(packed.mask[row, 0, i]).flatten().tolist()
                assert seen == [*range(len(item.prompt)), *range(at, i + 1)]
            at = end
        assert (packed.ids[row, at:] == 0).all()
        for i in range(at, width):  # padding sees something, so that no softmax is over nothing
            assert packed.mask[row, 0, i].any()


def test_rows_are_shortened_at_the_prompts_beginning_or_the_completions_ends() -> None:
    row = PromptRow([1, 2, 3, 4], [[5, 6, 7], [8]])
    assert shortened(row, 8, 0, "left") is row
    assert shortened(row, 6, 0, "left") == PromptRow([3, 4], [[5, 6, 7], [8]])
    assert shortened(row, 99, 5, "left") == PromptRow([3, 4], [[5, 6, 7], [8]])
    assert shortened(row, 6, 0, "right") == PromptRow([1, 2, 3, 4], [[5], [8]])
    assert shortened(row, 3, 0, "left") is row, "the prompt would be empty"
    assert shortened(row, 4, 0, "right") is row, "no room for a token"
