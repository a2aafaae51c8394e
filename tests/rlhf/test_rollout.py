"""Episodes: what of a batch is the response, how it is grouped, and the numbers that models give each of its tokens."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kaiwa.model.attention import attend_rows
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import Decoder, make_decoder
from kaiwa.model.heads import ScalarModel
from kaiwa.rlhf.rollout import (
    Episodes,
    by_length,
    episodes,
    measure,
    response_lengths,
    response_logprobs,
    response_values,
    reward_model_scores,
    sampled_logprobs,
)
from kaiwa.text.records import Completion

EOS = 7
PROMPTS = [[1, 2, 3], [4], [5, 6]]
RESPONSES = [
    Completion(text="a", ids=(8, 9, EOS), logprobs=(-0.5, -1.0, -0.25)),
    Completion(text="", ids=(), logprobs=()),
    Completion(text="b", ids=(10, 11), logprobs=(-2.0, -3.0), finish_reason="length"),
]
CONFIG = DecoderConfig(vocab_size=20, d_model=16, n_layer=2, n_head=2, d_ff=24, max_length=16)


@pytest.fixture(scope="module")
def model() -> Decoder:
    return make_decoder(CONFIG, 3)


@pytest.fixture
def batch() -> Episodes:
    return episodes(PROMPTS, RESPONSES, EOS)


def test_texts_mask_and_ends(batch: Episodes) -> None:
    assert [text.tolist() for text in batch.texts] == [[1, 2, 3, 8, 9, EOS], [4, EOS], [5, 6, 10, 11]]
    assert batch.mask.tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]  # an empty response counts as its end
    assert batch.ended.tolist() == [True, True, False]
    assert response_lengths(batch) == [3, 1, 2]


def test_sampled_log_probabilities_are_padded_with_0(batch: Episodes) -> None:
    assert sampled_logprobs(batch, "cpu").tolist() == [[-0.5, -1.0, -0.25], [0, 0, 0], [-2.0, -3.0, 0]]


def test_chosen_rows_lose_the_padding_that_nobody_needs(batch: Episodes) -> None:
    part = batch.rows(torch.tensor([2, 1]))
    assert [text.tolist() for text in part.texts] == [[5, 6, 10, 11], [4, EOS]]
    assert part.mask.tolist() == [[1, 1], [1, 0]]
    assert part.ended.tolist() == [False, True]
    assert part.prompts == [[5, 6], [4]]
    assert part.responses == [RESPONSES[2], RESPONSES[1]]


def batch_of(lengths: list[int]) -> Episodes:
    return episodes([[1] * n for n in lengths], [Completion(text="x", ids=(2,)) for _ in lengths], EOS)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 5), st.randoms())
def test_groups_are_a_partition_sorted_by_length(lengths: list[int], size: int, rng: object) -> None:
    chosen = torch.tensor(sorted(range(len(lengths)), key=lambda i: rng.random()))  # type: ignore[attr-defined]
    groups = by_length(batch_of(lengths), chosen, size)
    flat = [i for group in groups for i in group.tolist()]
    assert sorted(flat) == list(range(len(lengths)))
    assert [lengths[i] for i in flat] == sorted(lengths)
    assert all(len(group) == size for group in groups[:-1])
    assert 1 <= len(groups[-1]) <= size


def test_only_the_chosen_ones_are_grouped() -> None:
    groups = by_length(batch_of([5, 1, 4, 2]), torch.tensor([0, 2, 3]), 2)
    assert [group.tolist() for group in groups] == [[3, 2], [0]]


@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_measuring_by_groups_puts_every_number_in_its_place(batch: Episodes, size: int) -> None:
    per_row = measure(batch, size, lambda part: torch.tensor([float(text.sum()) for text in part.texts]))
    assert per_row.tolist() == [30.0, 11.0, 32.0]
    per_token = measure(batch, size, lambda part: part.mask * torch.tensor([[float(t[0])] for t in part.texts]))
    assert per_token.tolist() == [[1, 1, 1], [4, 0, 0], [5, 5, 0]]


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_log_probabilities_are_those_of_each_text_alone(model: Decoder, batch: Episodes, temperature: float) -> None:
    with torch.no_grad():
        together = response_logprobs(model, batch, temperature, "cpu")
    assert together.shape == (3, 3)
    for row, (prompt, text) in enumerate(zip(PROMPTS, batch.texts, strict=True)):
        with torch.no_grad():
            hidden = model(text[None], torch.arange(len(text))[None], attend_rows(None))
            logprobs = torch.log_softmax(model.logits(hidden)[0] / temperature, -1)
        expected = [float(logprobs[at - 1, text[at]]) for at in range(len(prompt), len(text))]
        assert together[row, : len(expected)].tolist() == pytest.approx(expected, abs=1e-4)
        assert together[row, len(expected) :].abs().sum() == 0


def test_values_stand_before_each_token_and_scores_at_the_last(model: Decoder, batch: Episodes) -> None:
    scalar = ScalarModel(model)
    with torch.no_grad():
        scalar.score.weight.normal_(generator=torch.Generator().manual_seed(1))
        values, scores = response_values(scalar, batch, "cpu"), reward_model_scores(scalar, batch, "cpu")
    for row, (prompt, text) in enumerate(zip(PROMPTS, batch.texts, strict=True)):
        with torch.no_grad():
            alone = scalar(text[None], torch.arange(len(text))[None], attend_rows(None))[0]
        n = len(text) - len(prompt)
        assert values[row, :n].tolist() == pytest.approx(alone[len(prompt) - 1 : -1].tolist(), abs=1e-4)
        assert values[row, n:].abs().sum() == 0
        assert float(scores[row]) == pytest.approx(float(alone[-1]), abs=1e-4)
