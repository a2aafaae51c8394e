"""Where completions stand in packed rows, and the figures of held-out pairs, by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.core.context import Context
from kaiwa.dpo.config import DPOConfig
from kaiwa.dpo.likelihood import completion_tokens, reference_logprobs
from kaiwa.dpo.run import ReferencedPrompt, _with_reference, held_out_figures
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import make_decoder
from kaiwa.reward.comparisons import Ranked
from kaiwa.reward.packing import PromptRow, pack_prompts

CONFIG = DecoderConfig(vocab_size=40, d_model=16, n_layer=1, n_head=2, d_ff=24, max_length=32)
tokens = st.lists(st.integers(1, 39), min_size=1, max_size=4)
rows = st.lists(st.builds(PromptRow, tokens, st.lists(tokens, min_size=2, max_size=3)), min_size=1, max_size=3)


def test_places_by_hand() -> None:
    # p p | a a a | b
    places = completion_tokens([PromptRow([1, 2], [[3, 4, 5], [6]]), PromptRow([7], [[8, 9]])])
    assert places.T.tolist() == [
        [0, 1, 2, 0], [0, 2, 3, 0], [0, 3, 4, 0],  # the token before the first one is the prompt's last
        [0, 1, 5, 1],  # so it is for the second completion
        [1, 0, 1, 2], [1, 1, 2, 2],
    ]  # fmt: skip


@given(rows)
def test_the_places_hold_the_completions_tokens_in_order(items: list[PromptRow]) -> None:
    packed = pack_prompts(items, 0)
    row, _, at, number = completion_tokens(items)
    flat = [completion for item in items for completion in item.completions]
    for i, completion in enumerate(flat):
        assert packed.ids[row[number == i], at[number == i]].tolist() == list(completion)


def test_the_reference_is_the_same_for_any_company() -> None:
    model = make_decoder(CONFIG, 0)
    items = [PromptRow([1, 2, 3], [[4], [5, 6]]), PromptRow([7], [[8] * 9, [9]]), PromptRow([1], [[2], [3], [4]])]
    one, all_ = (reference_logprobs(model, items, 0, "cpu", at_once=n) for n in (1, 8))
    assert [len(part) for part in one] == [2, 2, 3]
    for a, b in zip(one, all_, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_held_out_figures_by_hand() -> None:
    model, beta = make_decoder(CONFIG, 1), 0.5
    row = PromptRow([1, 2], [[3], [4, 5]])
    (now,) = reference_logprobs(model, [row], 0, "cpu")
    # the reference liked the first more by 2 and the second less by 1: rewards -1 and 0.5
    reference = now + torch.tensor([2.0, -1.0])
    for ranks, margin, right in (((0, 1), -1.5, 0.0), ((1, 0), 1.5, 1.0)):
        held_out = [ReferencedPrompt(Ranked(row, ranks, ""), reference)]
        figures = held_out_figures(model, held_out, DPOConfig(beta=beta), 0, "cpu")
        assert figures["held_out_loss"] == pytest.approx(math.log(1 + math.exp(-margin)), abs=1e-4)
        assert figures["held_out_accuracy"] == right


def test_each_item_has_its_own_reference() -> None:
    model = make_decoder(CONFIG, 0)
    row = PromptRow([1], [[2], [3]])
    items = [Ranked(row, (0, 1), "a"), Ranked(row, (1, 0), "b")]  # equal rows, two records
    by_item = _with_reference(model, items, 0, Context())
    assert [by_item[id(item)].item for item in items] == items
    assert torch.equal(by_item[id(items[0])].reference, by_item[id(items[1])].reference)
