"""Rollouts: responses sampled by the engine, and what the training graph says of each of their tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kaiwa.engine.engine import Engine
from kaiwa.model.decoder import Attend, Decoder, attend_rows
from kaiwa.model.heads import ScalarModel
from kaiwa.text.records import Completion
from kaiwa.train.likelihood import selected_logprobs
from kaiwa.train.optim import autocast

# (prompts' ids, responses) -> one score a response [B]. A reward model, a rule, a test's stub: anything fits.
Score = Callable[[Sequence[Sequence[int]], Sequence[Completion]], Tensor]


@dataclass(frozen=True, slots=True)
class Episodes:
    """ids, positions [B,W] (prompt then response, padded right); the response's tokens are at `columns` [B,T].

    mask [B,T]: 1 on the tokens of the response (its end included). Column t of [B,T] tensors is response token t.
    """

    ids: Tensor
    positions: Tensor
    columns: Tensor
    mask: Tensor
    ended: Tensor
    prompts: Sequence[Sequence[int]]
    responses: Sequence[Completion]

    def rows(self, chosen: Tensor) -> Episodes:
        """Some of the episodes, the padding cut to the longest."""
        width = int((self.columns[chosen] * self.mask[chosen].long()).max()) + 1
        n = int(self.mask[chosen].sum(dim=1).max())
        picked = chosen.tolist()
        return Episodes(
            self.ids[chosen, :width],
            self.positions[chosen, :width],
            self.columns[chosen, :n].clamp(max=width - 1),
            self.mask[chosen, :n],
            self.ended[chosen],
            [self.prompts[i] for i in picked],
            [self.responses[i] for i in picked],
        )


def by_length(batch: Episodes, chosen: Tensor, size: int) -> list[Tensor]:
    """`chosen` episodes cut into groups of at most `size`, alike in length, so that little is padded."""
    last = (batch.columns * batch.mask.long()).amax(dim=1)
    order = chosen[torch.argsort(last[chosen], stable=True)]
    return list(order.split(size))


def measure(batch: Episodes, size: int, of: Callable[[Episodes], Tensor]) -> Tensor:
    """`of` (a forward pass that gives [b,t] or [b]) over the whole batch, group by group -> [B,T] or [B]."""
    out: Tensor | None = None
    for piece in by_length(batch, torch.arange(len(batch.ids)), size):
        part = of(batch.rows(piece))
        if out is None:
            shape = (len(batch.ids), batch.mask.shape[1])[: part.ndim]
            out = torch.zeros(shape, device=part.device)
        if part.ndim == 1:
            out[piece] = part
        else:
            out[piece, : part.shape[1]] = part
    assert out is not None
    return out


def sampled_logprobs(batch: Episodes, device: str) -> Tensor:
    """What the engine said of each response token while sampling [B,T]."""
    out = torch.zeros(batch.mask.shape)
    for row, response in enumerate(batch.responses):
        out[row, : len(response.logprobs)] = torch.tensor(response.logprobs)
    return out.to(device)


def sample(
    engine: Engine, prompts: Sequence[Sequence[int]], max_tokens: int, temperature: float, seed: int, eos: int
) -> Episodes:
    """One response a prompt, on the policy the engine holds."""
    responses = engine.generate(prompts, max_tokens=max_tokens, temperature=temperature, seed=seed, stop_ids=(eos,))
    return episodes(prompts, responses, eos)


def episodes(prompts: Sequence[Sequence[int]], responses: Sequence[Completion], eos: int) -> Episodes:
    lengths = [max(1, len(r.ids)) for r in responses]
    width = max(len(p) + n for p, n in zip(prompts, lengths, strict=True))
    ids = torch.full((len(prompts), width), eos, dtype=torch.long)
    columns = torch.zeros(len(prompts), max(lengths), dtype=torch.long)
    mask = torch.zeros(len(prompts), max(lengths))
    for row, (prompt, response, n) in enumerate(zip(prompts, responses, lengths, strict=True)):
        tokens = response.ids or (eos,)
        ids[row, : len(prompt) + n] = torch.tensor([*prompt, *tokens])
        columns[row, :n] = torch.arange(len(prompt), len(prompt) + n)
        mask[row, :n] = 1.0
    positions = torch.arange(width).expand_as(ids)
    ended = torch.tensor([r.finish_reason == "stop" for r in responses])
    return Episodes(ids, positions, columns, mask, ended, prompts, responses)


def response_logprobs(model: Decoder, batch: Episodes, temperature: float, device: str) -> Tensor:
    """log π(token) of each response token at the sampling temperature [B,T]; only those positions are unembedded."""
    hidden = _hidden(model, batch, device)
    rows = torch.arange(len(batch.ids), device=device)[:, None]
    chosen = batch.mask.bool().to(device)
    before = hidden[rows, (batch.columns.to(device) - 1).clamp(min=0)]
    targets = batch.ids.to(device)[rows, batch.columns.to(device)]
    out = torch.zeros(batch.mask.shape, device=device)
    with autocast(device):
        out[chosen] = selected_logprobs(model, before[chosen], targets[chosen], temperature)
    return out


def response_values(model: ScalarModel, batch: Episodes, device: str) -> Tensor:
    """V before each response token [B,T] (the state is the prompt and the response so far)."""
    with autocast(device):
        values = model(batch.ids.to(device), batch.positions.to(device), _attend())
    rows = torch.arange(len(batch.ids), device=device)[:, None]
    return values[rows, (batch.columns.to(device) - 1).clamp(min=0)] * batch.mask.to(device)  # type: ignore[no-any-return]


@torch.no_grad()
def reward_model_scores(model: ScalarModel, batch: Episodes, device: str) -> Tensor:
    """The reward model's score at each response's last token [B]."""
    with autocast(device):
        scores = model(batch.ids.to(device), batch.positions.to(device), _attend())
    last = batch.mask.sum(dim=1).long() - 1
    rows = torch.arange(len(batch.ids))
    return scores[rows, batch.columns[rows, last]]  # type: ignore[no-any-return]


def _hidden(model: Decoder, batch: Episodes, device: str) -> Tensor:
    with autocast(device):
        return model(batch.ids.to(device), batch.positions.to(device), _attend())  # type: ignore[no-any-return]


def _attend() -> Attend:
    """Padding is on the right, so that plain causal attention never sees it."""
    return attend_rows(None)
