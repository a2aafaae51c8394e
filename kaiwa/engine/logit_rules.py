"""Changes of a request's logits before the temperature: penalties, biases, grammar (formulas: text/sampling.py).

Each request has its own LogitRules, which remember the tokens of prompt and answer. Rows without rules cost nothing.
`choose` is the step's last part: from logits to tokens, with a reason for each failed row.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from kaiwa.core.errors import UserError
from kaiwa.engine.grammar import GrammarState, GrammarVocabulary
from kaiwa.engine.request import ReasoningLimit, Request
from kaiwa.engine.sampling import SamplingRules, sample

NOT_NUMBERS = "the model's logits are not numbers (NaN or infinite): its weights are damaged; load or build it again"


class LogitRules:
    """A request's changes to its logits, and the tokens used by the changes."""

    def __init__(self, request: Request, vocab_size: int, vocabulary: GrammarVocabulary | None) -> None:
        """Prepare a request's rules. UserError for tokens outside the vocabulary and for an unusable grammar."""
        sampling = request.sampling
        for id, _ in sampling.logit_bias:
            if not 0 <= id < vocab_size:
                limits = f"this model's tokens are 0 to {vocab_size - 1}"
                raise UserError(f"logit_bias names token {id}; {limits}", field="logit_bias")
        self.sampling, self.stop_ids = sampling, request.stop_ids
        self.answer: Counter[int] = Counter()
        self.prompt = set(request.prompt_ids) if sampling.repetition_penalty != 1.0 else set()
        self.reasoning = None if request.reasoning is None else ReasoningEnd(request.reasoning)
        self.grammar: GrammarState | None = None
        if sampling.grammar is not None:
            if vocabulary is None:
                raise UserError(
                    "grammars need the model's tokenizer, and it has none; leave the grammar out", field="grammar"
                )
            self.grammar = vocabulary.follow(sampling.grammar)
            self.grammar.allowed_tokens()  # raises for a grammar that allows nothing

    def apply(self, logits: Tensor) -> None:
        """Change a row's logits [V] in place. UserError where the grammar allows no token."""
        r = self.sampling
        repeated = list(self.prompt | self.answer.keys()) if r.repetition_penalty != 1.0 else []
        if repeated:
            at = torch.tensor(repeated, device=logits.device)
            values = logits[at]
            logits[at] = torch.where(values > 0, values / r.repetition_penalty, values * r.repetition_penalty)
        if self.answer and (r.presence_penalty or r.frequency_penalty):
            off = [r.presence_penalty + n * r.frequency_penalty for n in self.answer.values()]
            self._add(logits, list(self.answer), [-x for x in off])
        if r.logit_bias:
            self._add(logits, [id for id, _ in r.logit_bias], [bias for _, bias in r.logit_bias])
        if self.grammar is not None:
            allowed, ends = self.grammar.allowed_tokens()
            allowed = allowed.clone()
            for id in self.stop_ids:
                if 0 <= id < len(allowed):
                    allowed[id] = ends
            logits.masked_fill_(~allowed.to(logits.device), -math.inf)
        if self.reasoning is not None and (forced := self.reasoning.forced_token()) is not None:
            logits.fill_(-math.inf)
            logits[forced] = 0.0

    @staticmethod
    def _add(logits: Tensor, ids: list[int], values: list[float]) -> None:
        at = torch.tensor(ids, device=logits.device)
        logits.index_add_(0, at, torch.tensor(values, dtype=logits.dtype, device=logits.device))

    def push(self, id: int) -> None:
        """Note the newest token of the answer."""
        self.answer[id] += 1
        if self.reasoning is not None:
            self.reasoning.push(id)
        if self.grammar is not None and id not in self.stop_ids:
            self.grammar.push(id)

    @property
    def complete(self) -> bool:
        """Whether the grammar allows no further token."""
        return self.grammar is not None and self.grammar.complete


class ReasoningEnd:
    """The end of an answer's reasoning: by itself, or forced once the limit is reached."""

    def __init__(self, limit: ReasoningLimit) -> None:
        self.limit, self.is_open = limit, limit.is_open
        self.recent: list[int] = []  # as many tokens as the longer tag has
        self.n_tokens = 0
        self.n_forced: int | None = None  # tokens of the closing tag forced so far; None: not begun

    def forced_token(self) -> int | None:
        """Return the token that must come next, None where the model is free."""
        if self.is_open and self.n_forced is None and self.n_tokens >= self.limit.tokens:
            self.n_forced = 0
        if self.n_forced is None or self.n_forced >= len(self.limit.closing):
            return None
        return self.limit.closing[self.n_forced]

    def push(self, id: int) -> None:
        """Note the newest token of the answer."""
        if self.n_forced is not None:
            self.n_forced += 1
            self.is_open = False
            return
        opening, closing = list(self.limit.opening), list(self.limit.closing)
        self.recent = [*self.recent, id][-max(len(opening), len(closing)) :]
        if self.is_open:
            self.n_tokens += 1
            self.is_open = self.recent[-len(closing) :] != closing
        elif self.n_tokens == 0:
            self.is_open = self.recent[-len(opening) :] == opening


def choose(
    logits: Tensor, all_rules: Sequence[LogitRules | None], rules: SamplingRules, positions: Tensor
) -> tuple[list[int], list[float], dict[int, UserError]]:
    """Sample a token for each row of logits [n,V] fp32 (overwritten) at `positions` [n].

    Return the tokens [n], their log-probabilities [n], and {row: reason of failure}. Log-probabilities come from
    the model's own logits at the temperature, before the rules.
    """
    wrong: dict[int, UserError] = {}
    peaks = logits.amax(dim=-1)  # NaN if any entry is
    if not bool(peaks.isfinite().all()):
        for row in (~peaks.isfinite()).nonzero()[:, 0].tolist():
            wrong[row] = UserError(NOT_NUMBERS)
            logits[row] = 0.0
    changed = [i for i, row_rules in enumerate(all_rules) if row_rules is not None and i not in wrong]
    own = logits[torch.tensor(changed, device=logits.device)] if changed else logits
    for i in changed:
        row_rules = all_rules[i]
        assert row_rules is not None
        try:
            row_rules.apply(logits[i])
        except UserError as error:
            wrong[i] = error
            logits[i] = 0.0
    chosen, logprobs = sample(logits, rules, positions)
    if changed:
        index = torch.tensor(changed)
        temperature = rules.temperature[index]
        own = own / torch.where(temperature == 0, 1.0, temperature).to(own.device)[:, None]
        plain = own.gather(1, chosen[index].to(own.device)[:, None])[:, 0] - own.logsumexp(dim=-1)
        logprobs[index] = plain.cpu()
    return chosen.tolist(), logprobs.tolist(), wrong
