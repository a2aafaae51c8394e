"""Bulk generation and scoring: many prompts at once, no Python per row in the loop. Used by rollouts and evaluation.

Prompts are sorted by length and prefilled in padded batches; a repeated prompt is prefilled once and its cache rows
copied. Finished rows are dropped from the batch, and waiting prompts take their places.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kaiwa.core.errors import UserError
from kaiwa.engine.rows.protocols import BulkRows
from kaiwa.engine.rows.torch_rows import pad
from kaiwa.engine.sampling import SamplingRules
from kaiwa.model.attention import attend_rows
from kaiwa.model.decoder import Decoder

PREFILL_TOKENS = 1024  # in one padded batch, so that intermediate results stay in the processor's caches
SCORE_LOGITS = 1 << 25  # entries of [tokens, V] at a time when scoring


@dataclass(slots=True)
class GeneratedBatch:
    """Answers to N prompts, on the CPU. ids, logprobs [N, max_tokens]; lengths [N]: tokens of each answer, a stop token
    included; stopped [N] bool: whether the answer ended with a stop token."""

    ids: Tensor
    logprobs: Tensor
    lengths: Tensor
    stopped: Tensor


@torch.inference_mode()
def generate(
    batch: BulkRows,
    prompts: Sequence[Sequence[int]],
    *,
    max_tokens: int,
    rules: SamplingRules,
    stop_ids: Sequence[int],
    rows: int,
) -> GeneratedBatch:
    """Continue every prompt by at most `max_tokens` tokens, ending at a stop id, which is part of the answer.

    `rules` has a row for each prompt. `batch` is cleared first; its buffer is used again from call to call. The
    context ends an answer too: prompt and answer together have at most the decoder's max_length tokens (plus a last
    token without successor). UserError for a prompt longer than the context or with ids outside the vocabulary.
    """
    N, limit, V = len(prompts), batch.decoder.config.max_length, batch.decoder.config.vocab_size
    for i, prompt in enumerate(prompts):
        if not 0 < len(prompt) < limit:
            raise UserError(f"prompt {i} has {len(prompt)} tokens; this model takes 1 to {limit - 1}")
        _check_ids(f"prompt {i}", prompt, V)
    out = GeneratedBatch(
        torch.zeros(N, max_tokens, dtype=torch.int64),
        torch.zeros(N, max_tokens),
        torch.zeros(N, dtype=torch.int64),
        torch.zeros(N, dtype=torch.bool),
    )
    if N == 0 or max_tokens < 1:
        return out
    waiting = sorted(range(N), key=lambda i: (len(prompts[i]), prompts[i], i))
    stop = torch.tensor(list(stop_ids), dtype=torch.int64)
    batch.clear()
    batch.reserve(min(rows, N), min(limit, len(prompts[waiting[-1]]) + max_tokens))
    who = torch.zeros(0, dtype=torch.int64)  # the prompt that each row answers
    last = torch.zeros(0, dtype=torch.int64)  # each row's newest token
    while waiting or batch.n:
        if waiting and batch.n <= rows // 2:
            admitted = waiting[: rows - batch.n]
            waiting = waiting[len(admitted) :]
            for group in _prefill_groups(admitted, prompts):
                hidden = _prefill(batch, [prompts[i] for i in group])
                who = torch.cat((who, torch.tensor(group)))
                last = torch.cat((last, _take(batch, hidden, rules, who[-len(group) :], out)))
            who, last = _drop_finished(batch, who, last, out, stop=stop, max_tokens=max_tokens)
            continue
        hidden = batch.decode(last, int(batch.lengths.max()))
        last = _take(batch, hidden, rules, who, out)
        who, last = _drop_finished(batch, who, last, out, stop=stop, max_tokens=max_tokens)
    return out


def _check_ids(what: str, ids: Sequence[int], V: int) -> None:
    """Raise UserError for an id without a row in the embedding: the C++ step reads rows unchecked."""
    if min(ids) < 0 or max(ids) >= V:
        raise UserError(f"{what} has a token id outside 0 to {V - 1}; is it from another model's tokenizer?")


def _take(batch: BulkRows, hidden: Tensor, rules: SamplingRules, who: Tensor, out: GeneratedBatch) -> Tensor:
    """Sample the next tokens [m] of the rows for prompts `who` [m], note them in `out`, and return them."""
    at = out.lengths[who]
    ids, logprobs = batch.sample(hidden, rules.rows(who), at)
    out.ids[who, at] = ids
    out.logprobs[who, at] = logprobs
    out.lengths[who] = at + 1
    return ids


def _drop_finished(
    batch: BulkRows, who: Tensor, last: Tensor, out: GeneratedBatch, *, stop: Tensor, max_tokens: int
) -> tuple[Tensor, Tensor]:
    """Drop finished rows. Return `who` and `last` [n'] of the remaining rows."""
    stopped = (last[:, None] == stop).any(dim=1)
    full = (out.lengths[who] >= max_tokens) | (batch.lengths >= batch.decoder.config.max_length)
    keep = ~(stopped | full)
    if bool(keep.all()):
        return who, last
    out.stopped[who] = stopped
    source = batch.drop(keep)
    return who[source], last[source]


def _prefill_groups(order: list[int], prompts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield a list of prompts, sorted by length, in padded batches of at most PREFILL_TOKENS distinct tokens."""
    group: list[int] = []
    distinct = 0
    for i in order:
        new = not group or prompts[i] != prompts[group[-1]]
        if group and new and (distinct + 1) * len(prompts[i]) > PREFILL_TOKENS:
            yield group
            group, distinct = [], 0
        group.append(i)
        distinct += new
    if group:
        yield group


def _prefill(batch: BulkRows, prompts: list[Sequence[int]]) -> Tensor:
    """Append rows for prompts whose copies are neighbours. Return the hidden states of their last tokens [m,D]."""
    distinct: list[Sequence[int]] = []
    source = []
    for prompt in prompts:
        if not distinct or prompt != distinct[-1]:
            distinct.append(prompt)
        source.append(len(distinct) - 1)
    start = batch.n
    hidden = batch.prefill(*pad(distinct))
    if len(distinct) == len(prompts):
        return hidden
    index = torch.tensor(source)
    batch.fork(start, index + start)
    return hidden[index.to(hidden.device)]


@torch.inference_mode()
def score(
    decoder: Decoder, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], temperature: float = 1.0
) -> list[list[float]]:
    """Return the natural log-probabilities at a temperature of each answer's tokens, by the full forward pass.

    Each prompt and answer together must fit the context; UserError otherwise, and for ids outside the vocabulary.
    """
    limit, V, device = decoder.config.max_length, decoder.config.vocab_size, decoder.embed.weight.device
    if len(prompts) != len(answers):
        raise UserError(f"{len(prompts)} prompts but {len(answers)} continuations; give one each")
    texts = [[*p, *a] for p, a in zip(prompts, answers, strict=True)]
    for i, text in enumerate(texts):
        if not prompts[i] or len(text) > limit:
            raise UserError(f"text {i}: {len(prompts[i])} + {len(answers[i])} tokens; 1 + 0 to {limit} are possible")
        _check_ids(f"text {i}", text, V)
    scores: list[list[float]] = [[] for _ in texts]
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    while order:
        longest = len(texts[order[-1]])
        group = order[-max(1, PREFILL_TOKENS // longest) :]
        del order[-len(group) :]
        ids, lengths = pad([texts[i] for i in group])
        begins = torch.tensor([len(prompts[i]) for i in group])
        places = torch.arange(longest - 1)
        scored = ((places >= begins[:, None] - 1) & (places < lengths[:, None] - 1)).to(device)
        ids, positions = ids.to(device), torch.arange(longest, device=device).expand(len(group), -1)
        hidden = decoder(ids, positions, attend_rows(None))
        states, targets = hidden[:, :-1][scored], ids[:, 1:][scored]
        parts = []
        for part, target in zip(states.split(SCORE_LOGITS // V), targets.split(SCORE_LOGITS // V), strict=True):
            logits = decoder.logits(part).float() / temperature
            parts.append(logits.gather(1, target[:, None])[:, 0] - logits.logsumexp(dim=-1))
        flat = torch.cat(parts).tolist() if parts else []
        at = 0
        for i in group:
            scores[i] = flat[at : at + len(answers[i])]
            at += len(answers[i])
    return scores
