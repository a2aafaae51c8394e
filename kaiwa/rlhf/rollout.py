"""Rollouts: responses sampled by the engine, and their tokens' log-probabilities and values in the training graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kaiwa.engine.engine import Engine
from kaiwa.model.decoder import Decoder
from kaiwa.model.documents import Documents
from kaiwa.model.heads import ScalarModel
from kaiwa.text.records import Completion
from kaiwa.text.sampling import Sampling
from kaiwa.train.likelihood import selected_logprobs
from kaiwa.train.optim import autocast

# (prompts' ids, responses) -> one score per response [B]: a reward model, a rule, or a stub in a test.
Score = Callable[[Sequence[Sequence[int]], Sequence[Completion]], Tensor]


@dataclass(frozen=True, slots=True)
class Episodes:
    """A batch of B prompts with responses. texts: prompt and response of each episode [n]; ended: [B].

    mask: [B,T], 1 on the tokens of the response including its end. Column t of [B,T] tensors is response token t.
    """

    texts: Sequence[Tensor]
    mask: Tensor
    ended: Tensor
    prompts: Sequence[Sequence[int]]
    responses: Sequence[Completion]

    def learned(self, without_cut: bool) -> Tensor:
        """Return the mask of the policy's loss [B,T]: without_cut leaves out responses that did not end."""
        return self.mask * self.ended[:, None] if without_cut else self.mask

    def rows(self, chosen: Tensor) -> Episodes:
        """Return the episodes with indices `chosen` [n], padded only to their longest response."""
        n = int(self.mask[chosen].sum(dim=1).max())
        picked = chosen.tolist()
        return Episodes(
            [self.texts[i] for i in picked],
            self.mask[chosen, :n],
            self.ended[chosen],
            [self.prompts[i] for i in picked],
            [self.responses[i] for i in picked],
        )


def by_length(batch: Episodes, chosen: Tensor, size: int) -> list[Tensor]:
    """Return the indices `chosen` [n] in groups of at most `size` episodes of similar length, for little padding."""
    lengths = torch.tensor([len(text) for text in batch.texts])
    order = chosen[torch.argsort(lengths[chosen], stable=True)]
    return list(order.split(size))


def measure(batch: Episodes, size: int, forward: Callable[[Episodes], Tensor]) -> Tensor:
    """Apply `forward` (returns [b,t] or [b]) to groups of episodes; return the whole batch's result [B,T] or [B]."""
    out: Tensor | None = None
    for piece in by_length(batch, torch.arange(len(batch.texts)), size):
        part = forward(batch.rows(piece))
        if out is None:
            shape = (len(batch.texts), batch.mask.shape[1])[: part.ndim]
            out = torch.zeros(shape, device=part.device)
        if part.ndim == 1:
            out[piece] = part
        else:
            out[piece, : part.shape[1]] = part
    assert out is not None
    return out


def sampled_logprobs(batch: Episodes, device: str) -> Tensor:
    """Return the log-probability that the engine reported for each response token while sampling [B,T]."""
    out = torch.zeros(batch.mask.shape)
    for row, response in enumerate(batch.responses):
        out[row, : len(response.logprobs)] = torch.tensor(response.logprobs)
    return out.to(device)


def sample(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    *,
    max_tokens: int,
    temperature: float,
    seed: int,
    eos: int,
    stop_ids: Sequence[int] = (),
) -> Episodes:
    """Sample one response per prompt from the engine's policy. eos: the end of turn; stop_ids: further ends."""
    responses = engine.generate(
        prompts, Sampling(max_tokens=max_tokens, temperature=temperature, seed=seed), stop_ids=(eos, *stop_ids)
    )
    return episodes(prompts, responses, eos)


def episodes(prompts: Sequence[Sequence[int]], responses: Sequence[Completion], eos: int) -> Episodes:
    """Return prompts and responses as episodes; an empty response counts as its end token."""
    texts, lengths = [], [max(1, len(r.ids)) for r in responses]
    mask = torch.zeros(len(prompts), max(lengths))
    for row, (prompt, response, n) in enumerate(zip(prompts, responses, lengths, strict=True)):
        texts.append(torch.tensor([*prompt, *(response.ids or (eos,))]))
        mask[row, :n] = 1.0
    ended = torch.tensor([r.finish_reason == "stop" for r in responses])
    return Episodes(texts, mask, ended, prompts, responses)


def response_logprobs(model: Decoder, batch: Episodes, temperature: float, device: str) -> Tensor:
    """Return log π(token) of each response token at a temperature [B,T]; only these positions are unembedded."""
    lengths = response_lengths(batch)
    targets = torch.cat([text[-n:] for text, n in zip(batch.texts, lengths, strict=True)]).to(device)
    with autocast(device):
        hidden = _before(model, batch, lengths, device)
        return _as_rows(batch, selected_logprobs(model, hidden, targets, temperature))


def response_values(model: ScalarModel, batch: Episodes, device: str) -> Tensor:
    """Return the value V before each response token [B,T], of the state of prompt and response so far."""
    with autocast(device):
        return _as_rows(batch, _before(model, batch, response_lengths(batch), device))


@torch.no_grad()
def reward_model_scores(model: ScalarModel, batch: Episodes, device: str) -> Tensor:
    """Return the reward model's score at each response's last token [B]."""
    side = Documents([len(text) for text in batch.texts], [1] * len(batch.texts), device)
    with autocast(device):
        return side.states(model, torch.cat(list(batch.texts)))


def response_lengths(batch: Episodes) -> list[int]:
    """Return the number of tokens of each response."""
    return [int(n) for n in batch.mask.sum(dim=1).tolist()]


def _before(model: nn.Module, batch: Episodes, lengths: Sequence[int], device: str) -> Tensor:
    """Return the model's output before each response token [N, ...]; the last token of a text is not computed."""
    side = Documents([len(text) - 1 for text in batch.texts], lengths, device)
    return side.states(model, torch.cat([text[:-1] for text in batch.texts]))


def _as_rows(batch: Episodes, values: Tensor) -> Tensor:
    """Return values of response tokens [N] as [B,T], 0 elsewhere."""
    where = batch.mask.bool().to(values.device)
    return torch.zeros(where.shape, device=values.device).masked_scatter(where, values.float())
