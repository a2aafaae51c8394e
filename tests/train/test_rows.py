"""Packing and streams: nothing lost, nothing seen twice, resumable."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.core.errors import UserError
from kaiwa.train.rows import Mixture, TokenStream, pack, packed_rows, within_context


@given(st.lists(st.integers(1, 20), min_size=1, max_size=60))
def test_packing_keeps_every_sequence_once_and_fits(lengths: list[int]) -> None:
    bins = pack([[0] * n for n in lengths], 20)
    assert sorted(i for row in bins for i in row) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in row) <= 20 for row in bins)


def test_packing_refuses_what_is_too_long() -> None:
    with pytest.raises(ValueError, match="sequence 1 has 5 tokens"):
        pack([[1], [1] * 5], 4)


def test_targets_never_cross_a_border() -> None:
    sequences, masks = [[5, 6, 7], [8, 9]], [[0, 1, 1], [1, 1]]
    rows = packed_rows(sequences, masks, [[0, 1]], 8, pad=0)
    ids, positions, segments, targets, weights = rows.tensors()
    assert ids[0].tolist() == [5, 6, 7, 8, 9, 0, 0]
    assert positions[0].tolist() == [0, 1, 2, 0, 1, 0, 0]
    assert targets[0][weights[0] > 0].tolist() == [6, 7, 9]  # 8 begins a sequence: nothing predicts it
    assert segments[0].tolist() == [1, 1, 1, 2, 2, 0, 0]


def stream(seed: int = 0, in_order: bool = False) -> TokenStream:
    lengths = [3, 8, 1, 12, 5, 7]
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    return TokenStream(np.arange(36), offsets, 6, seed, "test", in_order=in_order)


def test_an_epoch_gives_every_token_once() -> None:
    s = stream()
    seen = np.concatenate([s.next()[0] for _ in range(6)])
    assert sorted(seen.tolist()) == list(range(36))
    assert s.next() is not None
    assert s.epoch == 1


def test_segments_and_positions_follow_the_documents() -> None:
    s = stream(in_order=True)
    ids, segments, positions = s.next()
    assert ids.tolist() == [0, 1, 2, 3, 4, 5]
    assert segments.tolist() == [0, 0, 0, 1, 1, 1]
    assert positions.tolist() == [0, 1, 2, 0, 1, 2]
    _, segments, positions = s.next()  # document 1 goes on, cut by the row's edge: positions start again
    assert positions.tolist()[:5] == [0, 1, 2, 3, 4]


@given(st.integers(0, 20), st.integers(0, 20))
def test_a_restored_mixture_goes_on_the_same(before: int, after: int) -> None:
    def make() -> Mixture:
        return Mixture([stream(1), stream(2)], [0.7, 0.3])

    one, two = make(), make()
    if before:
        one.next(before)
    two.restore(one.state())
    if after:
        a, b = one.next(after), two.next(after)
        assert (a.ids == b.ids).all()
        assert (a.segments == b.segments).all()


def test_shares_are_kept() -> None:
    m = Mixture([stream(1), stream(2)], [3.0, 1.0])
    m.next(40)
    assert m.drawn == [30, 10]


def test_bad_mixtures_are_refused() -> None:
    with pytest.raises(UserError, match="one row needs 99"):
        TokenStream(np.arange(36), np.array([0, 36]), 99, 0, "docs")
    with pytest.raises(UserError, match="weights"):
        Mixture([stream()], [1.0, 2.0])


def test_tensors_have_the_same_shape() -> None:
    parts = packed_rows([[1, 2]], [[1, 1]], [[0]], 4, pad=0).tensors()
    assert {p.shape for p in parts} == {torch.Size([1, 3])}


def test_rows_are_no_wider_than_the_context() -> None:
    lines: list[str] = []
    assert within_context(256, 128, "sft.width", lines.append) == 128
    assert within_context(100, 128, "sft.width", lines.append) == 100
    assert lines == ["sft.width is 256, the model reads 128 tokens at once: rows of 128 are used"]
