"""SFT's schedule and losses: every demonstration once an epoch, gradients and means whatever the packing."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from kaiwa.model.attention import attend_rows
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import Decoder, make_decoder
from kaiwa.sft.config import SFTConfig
from kaiwa.sft.demonstrations import Sequences
from kaiwa.sft.run import Epochs, _backward, validation_loss

CONFIG = DecoderConfig(vocab_size=30, d_model=16, n_layer=2, n_head=2, d_ff=24, max_length=32)
DATA = Sequences(
    [[1, 2, 3, 4], [5, 6, 7], [8, 9, 10, 11, 12], [13, 14], [15, 16, 17]],
    [[0, 0, 1, 1], [0, 1, 1], [0, 0, 0, 1, 1], [0, 1], [0, 0.5, 1]],  # type: ignore[list-item]
)


@given(st.lists(st.integers(1, 16), min_size=1, max_size=30), st.integers(1, 3), st.integers(0, 7), st.integers(1, 4))
def test_each_epoch_has_every_demonstration_once(lengths: list[int], epochs: int, batch: int, rows: int) -> None:
    data = Sequences([[1] * n for n in lengths], [[1] * n for n in lengths])
    config = SFTConfig(epochs=epochs, batch=batch, rows=rows, width=16)
    schedule = Epochs(data, config, 0, 0).by_epoch()
    assert len(schedule) == epochs
    for steps in schedule:
        assert sorted(i for step in steps for row in step for i in row) == list(range(len(lengths)))
        for number, step in enumerate(steps):
            assert all(sum(lengths[i] for i in row) <= 16 for row in step)
            if batch:
                assert sum(map(len, step)) == min(batch, len(lengths) - number * batch)
            else:
                assert len(step) <= rows
    assert Epochs(data, config, 0, 0).by_epoch() == schedule


def test_epochs_have_orders_of_their_own_and_seeds_too() -> None:
    data = Sequences([[1]] * 40, [[1]] * 40)
    config = SFTConfig(epochs=2, batch=40, width=1)

    def orders(seed: int) -> list[list[int]]:
        return [[i for row in steps[0] for i in row] for steps in Epochs(data, config, seed, 0).by_epoch()]

    first, second = orders(0)
    assert first != second
    assert orders(1)[0] != first


def test_rows_are_as_wide_as_configured_or_as_their_longest() -> None:
    assert Epochs(DATA, SFTConfig(width=12), 0, 0).rows([[0, 1], [2]]).ids.shape[1] == 12
    wide = Epochs(DATA, SFTConfig(width=12, batch=3), 0, 0).rows([[0, 1], [2]])
    assert wide.ids.shape[1] == 7
    assert sorted(wide.ids[0].tolist()) == [1, 2, 3, 4, 5, 6, 7]


def alone(model: Decoder, number: int) -> tuple[torch.Tensor, float]:
    """Summed weighted cross entropy of one demonstration by itself, and the sum of its weights."""
    ids, weights = torch.tensor([DATA.ids[number]]), torch.tensor(DATA.masks[number][1:], dtype=torch.float32)
    hidden = model(ids, torch.arange(ids.shape[1])[None], attend_rows(None))
    losses = F.cross_entropy(model.logits(hidden)[0, :-1], ids[0, 1:], reduction="none")
    return (losses * weights).sum(), float(weights.sum())


def test_the_held_out_loss_is_the_mean_over_learned_tokens() -> None:
    model = make_decoder(CONFIG, 0)
    with torch.no_grad():
        parts = [alone(model, i) for i in range(5)]
    expected = sum(float(loss) for loss, _ in parts) / sum(weight for _, weight in parts)
    for width in (5, 8, 20):
        assert validation_loss(model, DATA, width, 0, "cpu") == pytest.approx(expected, rel=1e-4)
    assert math.isnan(validation_loss(model, Sequences([], []), 8, 0, "cpu"))


@pytest.mark.parametrize("at_once", [0, 1, 2])
def test_the_gradient_is_that_of_the_mean_whatever_is_computed_at_once(at_once: int) -> None:
    ours, slow = make_decoder(CONFIG, 0), make_decoder(CONFIG, 0)
    rows = Epochs(DATA, SFTConfig(width=8), 0, 0).rows([[0, 1], [2, 3], [4]])
    loss = _backward(ours, rows, 0.5, "cpu", at_once)
    parts = [alone(slow, i) for i in range(5)]
    mean = sum(part for part, _ in parts) / sum(weight for _, weight in parts)
    (0.5 * mean).backward()  # type: ignore[union-attr]
    assert loss == pytest.approx(float(mean.detach()), rel=1e-4)  # type: ignore[union-attr]
    for a, b in zip(ours.parameters(), slow.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, atol=1e-6, rtol=1e-3)
