"""DPO's loss and gradient against the paper's formula on separate sequences."""

import pytest
import torch
from torch.nn import functional as F

from kaiwa.core.errors import UserError
from kaiwa.dpo.config import DPOConfig
from kaiwa.dpo.likelihood import completion_logprobs, reference_logprobs
from kaiwa.dpo.run import ReferencedPrompt, _backward
from kaiwa.model.attention import attend_rows
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import Decoder, make_decoder
from kaiwa.reward.comparisons import Ranked
from kaiwa.reward.packing import PromptRow

CONFIG = DecoderConfig(vocab_size=40, d_model=16, n_layer=2, n_head=2, d_ff=24, max_length=32)
ROWS = [PromptRow([1, 2, 3], [[4, 5], [6, 7, 8]]), PromptRow([9], [[10], [11, 12]]), PromptRow([1, 5], [[3], [4], [5]])]
RANKS = [(0, 1), (1, 0), (0, 1, 1)]


def alone(model: Decoder, prompt: list[int], completion: list[int]) -> torch.Tensor:
    """log π(completion | prompt), one sequence by itself."""
    ids = torch.tensor([[*prompt, *completion]])
    hidden = model(ids, torch.arange(ids.shape[1])[None], attend_rows(None))
    logprobs = torch.log_softmax(model.logits(hidden), -1)[0]
    return sum(logprobs[len(prompt) + i - 1, token] for i, token in enumerate(completion))  # type: ignore[return-value]


def test_packed_completions_have_the_log_probabilities_of_separate_ones() -> None:
    model = make_decoder(CONFIG, 0)
    sums, lengths = completion_logprobs(model, ROWS, 0, "cpu")
    expected = [alone(model, list(row.prompt), list(c)) for row in ROWS for c in row.completions]
    torch.testing.assert_close(sums, torch.stack(expected), atol=1e-4, rtol=1e-4)
    assert lengths.tolist() == [2, 3, 1, 2, 1, 1, 1]
    parts = reference_logprobs(model, ROWS, 0, "cpu", at_once=2)
    torch.testing.assert_close(torch.cat(parts), sums.detach(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("sft_weight", [0.0, 0.5])
def test_loss_and_gradient_are_the_papers(sft_weight: float) -> None:
    reference, beta = make_decoder(CONFIG, 1), 0.3
    refs = [r.detach() for r in reference_logprobs(reference, ROWS, 0, "cpu")]
    ours, slow = make_decoder(CONFIG, 2), make_decoder(CONFIG, 2)
    batch = [ReferencedPrompt(Ranked(row, ranks, ""), ref) for row, ranks, ref in zip(ROWS, RANKS, refs, strict=True)]
    told = _backward(ours, batch, DPOConfig(beta=beta, sft_weight=sft_weight), 0, "cpu")
    per_prompt, best, tokens = [], torch.zeros(()), 0
    for row, ranks, ref in zip(ROWS, RANKS, refs, strict=True):
        policy = [alone(slow, list(row.prompt), list(c)) for c in row.completions]
        pairs = [(i, j) for i in range(len(ranks)) for j in range(len(ranks)) if ranks[i] < ranks[j]]
        terms = [-F.logsigmoid(beta * ((policy[i] - ref[i]) - (policy[j] - ref[j]))) for i, j in pairs]
        per_prompt.append(torch.stack(terms).mean())
        best = best + policy[ranks.index(0)]
        tokens += len(row.completions[ranks.index(0)])
    loss = torch.stack(per_prompt).mean()
    (loss - sft_weight * best / tokens).backward()
    assert told["loss"] == pytest.approx(float(loss.detach()), abs=1e-5)
    for a, b in zip(ours.parameters(), slow.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, atol=1e-5, rtol=1e-3)


def test_at_the_reference_the_loss_is_log_2() -> None:
    model = make_decoder(CONFIG, 0)
    refs = reference_logprobs(model, ROWS, 0, "cpu")
    batch = [ReferencedPrompt(Ranked(row, ranks, ""), ref) for row, ranks, ref in zip(ROWS, RANKS, refs, strict=True)]
    assert _backward(model, batch, DPOConfig(), 0, "cpu")["loss"] == pytest.approx(0.6931, abs=1e-3)


def test_beta_must_be_above_0() -> None:
    with pytest.raises(UserError, match=r"dpo\.beta is 0"):
        DPOConfig(beta=0)
