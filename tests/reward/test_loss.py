"""The K-wise loss: packed rows equal all pairs in value and gradient; ties are left out; hand-worked numbers."""

import math

import pytest
import torch
from torch.nn import functional as F

from kaiwa.model.attention import attend_rows
from kaiwa.model.config import DecoderConfig, gpt3
from kaiwa.model.decoder import make_decoder
from kaiwa.model.heads import ScalarModel, initialise_score
from kaiwa.reward.comparisons import Ranked, batches
from kaiwa.reward.loss import pairs, pairwise_loss
from kaiwa.reward.packing import PromptRow, best_tokens, pack_prompts, packed_states
from kaiwa.reward.run import score_packed, score_rows

PROMPTS = [
    PromptRow([1, 2, 3, 4], [[5, 6], [7, 8, 9], [10], [11, 12]]),
    PromptRow([20, 21], [[22, 23, 24], [25]]),
]
RANKS = [(0, 1, 1, 2), (1, 0)]


def reward_model() -> ScalarModel:
    config = DecoderConfig(vocab_size=64, d_model=32, n_layer=2, n_head=2, d_ff=48, max_length=32)
    model = ScalarModel(make_decoder(config, 1))
    initialise_score(model, torch.Generator().manual_seed(2))
    return model


def packed_scores(model: ScalarModel) -> torch.Tensor:
    return score_packed(model, pack_prompts(PROMPTS, pad=0))[0]


def all_pairs_loss(model: ScalarModel) -> torch.Tensor:
    """The slow and clear way: every pair forwards its two texts."""

    def score(ids: list[int]) -> torch.Tensor:
        return model(torch.tensor([ids]), torch.arange(len(ids))[None], attend_rows(None))[0, -1]

    losses = []
    for row, ranks in zip(PROMPTS, RANKS, strict=True):
        found = []
        for i, j in pairs(ranks):
            better, worse = score([*row.prompt, *row.completions[i]]), score([*row.prompt, *row.completions[j]])
            found.append(-F.logsigmoid(better - worse))
        losses.append(torch.stack(found).mean())
    return torch.stack(losses).mean()


def test_pairs_leave_out_ties() -> None:
    assert pairs((0, 1, 1, 2)) == [(0, 1), (0, 2), (0, 3), (1, 3), (2, 3)]
    assert pairs((0, 0, 0)) == []
    assert len(pairs(range(9))) == 36


def test_hand_worked() -> None:
    scores = torch.tensor([2.0, 0.0, 1.0])
    loss, n, right = pairwise_loss(scores, [(0, 2, 1)])
    expected = (math.log1p(math.exp(-2)) + 2 * math.log1p(math.exp(-1))) / 3
    assert float(loss) == pytest.approx(expected)
    assert (n, right) == (3, 3)


def test_a_prompt_counts_the_same_whatever_its_k() -> None:
    scores = torch.tensor([1.0, 0.0, 3.0, 2.0, 1.0, 0.0])
    both, _, _ = pairwise_loss(scores, [(0, 1), (0, 1, 2, 3)])
    one, _, _ = pairwise_loss(scores[:2], [(0, 1)])
    other, _, _ = pairwise_loss(scores[2:], [(0, 1, 2, 3)])
    assert float(both) == pytest.approx((float(one) + float(other)) / 2)


def test_all_ties_give_no_gradient() -> None:
    scores = torch.tensor([1.0, 2.0], requires_grad=True)
    loss, n, _ = pairwise_loss(scores, [(0, 0)])
    loss.backward()
    assert n == 0
    assert scores.grad is not None
    assert scores.grad.abs().sum() == 0


def test_packed_equals_all_pairs() -> None:
    model = reward_model()
    loss, _, _ = pairwise_loss(packed_scores(model), RANKS)
    loss.backward()
    fast = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    slow = all_pairs_loss(model)
    slow.backward()
    torch.testing.assert_close(loss, slow, rtol=1e-5, atol=1e-7)
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(fast[name], parameter.grad, rtol=1e-4, atol=1e-7)


def test_every_epoch_gives_each_prompt_once_and_steps_hold_prompts_of_like_length() -> None:
    rows = [PromptRow([1] * (3 + 7 * i % 50), [[5], [6, 7]]) for i in range(100)]
    items = [Ranked(row, (0, 1), "labeller-0") for row in rows]
    steps = batches(items, 8, 2, seed=3)
    assert len(steps) == 2 * 13
    for epoch in (steps[:13], steps[13:]):
        assert sorted(id(item) for step in epoch for item in step) == sorted(id(item) for item in items)
    assert batches(items, 8, 2, seed=3) == steps != batches(items, 8, 2, seed=4)
    spread = sum(max(len(i.row) for i in step) - min(len(i.row) for i in step) for step in steps) / len(steps)
    assert spread < 10  # 50 without


def test_scores_come_in_the_order_of_the_rows_whatever_is_computed_together() -> None:
    model = reward_model()
    rows = [*PROMPTS, PromptRow([9], [[3, 4, 5, 6, 7], [8]]), *PROMPTS[::-1]]
    alone = torch.cat([score_rows(model, [row], 0, "cpu") for row in rows])
    assert torch.allclose(score_rows(model, rows, 0, "cpu", batch=2), alone, atol=1e-5)


def test_the_best_completions_tokens_are_found_with_the_token_before_each() -> None:
    packed = pack_prompts(PROMPTS, pad=0)
    found = best_tokens(PROMPTS, [(1, 0, 0, 2), (1, 0)])
    pairs_found = [(int(packed.ids[r, b]), int(packed.ids[r, a])) for r, b, a in found.tolist()]
    assert pairs_found == [(4, 7), (7, 8), (8, 9), (4, 10), (21, 25)]


@pytest.mark.parametrize("shape", ["gpt3", "llama"])
@pytest.mark.parametrize(
    "where", [[(1, 3), (0, 5), (1, 3), (0, 0)], [(1, 7)], [(r, t) for r in (0, 1) for t in range(16)]]
)
def test_states_where_they_are_asked_for_are_those_of_the_whole_rows(shape: str, where: list[tuple[int, int]]) -> None:
    sizes = {"vocab_size": 64, "d_model": 32, "n_layer": 2, "n_head": 4, "d_ff": 48, "max_length": 32}
    config = gpt3(2, 32, 4, vocab_size=64, max_length=32) if shape == "gpt3" else DecoderConfig(**sizes, n_kv_head=2)
    model, asked = make_decoder(config, 3), torch.tensor(where)
    packed = pack_prompts(PROMPTS, pad=0)
    weights = torch.randn(len(where), 32, generator=torch.Generator().manual_seed(4))
    found = []
    for states in (
        packed_states(model, packed, asked),
        model(packed.ids, packed.positions, attend_rows(packed.mask))[asked[:, 0], asked[:, 1]],
    ):
        model.zero_grad()
        (states * weights).sum().backward()
        found.append((states.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-4, atol=1e-5)
    assert found[0][1].keys() == found[1][1].keys()
    for name, gradient in found[1][1].items():
        torch.testing.assert_close(found[0][1][name], gradient, rtol=1e-4, atol=1e-5, msg=name)
