"""Windows and caps, the same in every place that computes attention: rows, packed completions, single steps."""

import pytest
import torch
from torch import Tensor

from kaiwa.model.attention import Limits, attend_rows, attention, segment_mask, within_window
from kaiwa.model.config import DecoderConfig, Scales
from kaiwa.model.decoder import Decoder, make_decoder
from kaiwa.reward.packing import PromptRow, pack_prompts, packed_states


def plain(q: Tensor, k: Tensor, v: Tensor, limits: Limits) -> Tensor:
    """Attention of one head, number by number. q, k, v [T,E]."""
    out = torch.zeros_like(q)
    for i in range(len(q)):
        first = max(0, i + 1 - limits.window) if limits.window else 0
        scores = torch.stack([q[i] @ k[j] / q.shape[1] ** 0.5 for j in range(first, i + 1)])
        if limits.cap:
            scores = limits.cap * torch.tanh(scores / limits.cap)
        out[i] = scores.softmax(0) @ v[first : i + 1]
    return out


@pytest.mark.parametrize("limits", [Limits(), Limits(3), Limits(1), Limits(0, 1.5), Limits(4, 0.7), Limits(100)])
def test_rows_equal_the_definition(limits: Limits) -> None:
    q, k, v = (torch.randn(1, 9, 2, 4, generator=torch.Generator().manual_seed(i)).double() for i in range(3))
    out = attend_rows(None)(0, q, k, v, limits)
    for head in range(2):
        assert torch.allclose(out[0, :, head], plain(q[0, :, head], k[0, :, head], v[0, :, head], limits))
    segments = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1, 1]])
    packed = attend_rows(segment_mask(segments))(0, q, k, v, limits)
    for first, last in ((0, 4), (4, 9)):
        part = plain(q[0, first:last, 0], k[0, first:last, 0], v[0, first:last, 0], limits)
        assert torch.allclose(packed[0, first:last, 0], part)


def test_a_window_counts_the_querys_own_position() -> None:
    places = torch.arange(4)
    assert within_window(places, places, 2).tril().int().tolist() == [
        [1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1],
    ]  # fmt: skip


def test_grouped_heads_with_a_cap() -> None:
    q, k, v = (torch.randn(1, heads, 5, 4, generator=torch.Generator().manual_seed(heads)) for heads in (4, 2, 2))
    capped = attention(q, k, v, None, 1e6, causal=True)
    assert torch.allclose(capped, attention(q, k, v, None, causal=True), atol=1e-5)
    assert not torch.allclose(attention(q, k, v, None, 0.1, causal=True), capped, atol=1e-2)


@pytest.fixture(scope="module")
def windowed() -> Decoder:
    config = DecoderConfig(
        vocab_size=40, d_model=32, n_layer=3, n_head=4, n_kv_head=2, d_ff=48, max_length=64,
        layers="wwg", window=5, local_theta=100.0, scales=Scales(attention_cap=1.0),
    )  # fmt: skip
    model = make_decoder(config, 0).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8.0 if parameter.ndim > 1 else 1.0)
    return model


@torch.no_grad()
def test_packed_completions_see_what_separate_rows_see(windowed: Decoder) -> None:
    """A window reaches back over positions, not over places in the packed row."""
    prompt, completions = tuple(range(8)), (tuple(range(8, 15)), tuple(range(15, 19)), tuple(range(19, 31)))
    packed = pack_prompts([PromptRow(prompt, completions)], 0)
    together = packed_states(windowed, packed, packed.ends)
    by_rows = windowed(packed.ids, packed.positions, attend_rows(packed.mask, packed.positions))
    for number, completion in enumerate(completions):
        ids = torch.tensor([[*prompt, *completion]])
        alone = windowed(ids, torch.arange(ids.shape[1])[None], attend_rows(None))[0, -1]
        assert torch.allclose(together[number], alone)
        row, column = packed.ends[number].tolist()
        assert torch.allclose(by_rows[row, column], alone)
