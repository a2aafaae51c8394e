"""A budget in money and tokens: when it is spent, nothing more is sent, and what was answered stays in the cache."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kaiwa.core.errors import UserError
from kaiwa.text.chat_model import (
    ChatModel,
    GenerateCall,
    ModelUnavailable,
    ScoreCall,
    ScoreResult,
    generate_alone,
    generate_many,
    score_alone,
    score_many,
)
from kaiwa.text.records import Completion, Conversation
from kaiwa.text.sampling import USUAL, Sampling

AT_ONCE = 32  # calls sent before the budget is looked at again


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Money for a million tokens: of prompts, of answers, and of prompt tokens that the server had cached (None: as
    prompts)."""

    prompt: float = 0.0
    answer: float = 0.0
    cached: float | None = None

    def cost(self, n_prompt: int, n_reused: int, n_tokens: int) -> float:
        """Return the money for so many prompt tokens, n_reused of them cached, and answer tokens."""
        cached = self.prompt if self.cached is None else self.cached
        return ((n_prompt - n_reused) * self.prompt + n_reused * cached + n_tokens * self.answer) / 1e6


FREE = Prices()


@dataclass(slots=True, kw_only=True)
class RunBudget:
    """The most money and tokens (inf: no limit), and what was spent of them, over all models of a run."""

    money: float = math.inf
    tokens: float = math.inf
    spent_money: float = 0.0
    spent_tokens: int = 0

    def __post_init__(self) -> None:
        if not self.money > 0 or not self.tokens > 0:
            raise UserError(f"budget of money {self.money:g}, tokens {self.tokens:g}: above 0, else nothing is asked")

    @property
    def is_spent(self) -> bool:
        """Whether a limit is reached."""
        return self.spent_money >= self.money or self.spent_tokens >= self.tokens

    def add(self, prices: Prices, n_prompt: int, n_reused: int, n_tokens: int) -> None:
        """Count an answer."""
        self.spent_money += prices.cost(n_prompt, n_reused, n_tokens)
        self.spent_tokens += n_prompt + n_tokens

    def refusal(self) -> ModelUnavailable:
        """Return the failure of a call that was not sent."""
        text = f"{self.spent_tokens:,} tokens, money {self.spent_money:.4g}"
        return ModelUnavailable(f"the budget is spent ({text}); raise it and start again to go on", "budget")


class BudgetedModel:
    """A model that sends nothing more once a budget is spent; calls under way are still counted."""

    def __init__(self, model: ChatModel, budget: RunBudget, prices: Prices = FREE) -> None:
        self._model, self._budget, self._prices = model, budget, prices

    @property
    def name(self) -> str:
        return self._model.name

    def generate_many(self, calls: Sequence[GenerateCall]) -> Iterator[tuple[int, Completion | Exception]]:
        """Yield the answers; after the budget's end a ModelUnavailable for each call."""
        for start in range(0, len(calls), AT_ONCE):
            part = calls[start : start + AT_ONCE]
            if self._budget.is_spent:
                yield from ((start + i, self._budget.refusal()) for i in range(len(part)))
                continue
            for i, outcome in generate_many(self._model, part):
                if isinstance(outcome, Completion):
                    self._budget.add(self._prices, outcome.n_prompt, outcome.n_reused, outcome.n_tokens)
                yield start + i, outcome

    def score_many(self, calls: Sequence[ScoreCall]) -> Iterator[tuple[int, ScoreResult | Exception]]:
        """Yield the log-probabilities; after the budget's end a ModelUnavailable for each call."""
        for start in range(0, len(calls), AT_ONCE):
            part = calls[start : start + AT_ONCE]
            if self._budget.is_spent:
                yield from ((start + i, self._budget.refusal()) for i in range(len(part)))
                continue
            for i, outcome in score_many(self._model, part):
                if isinstance(outcome, ScoreResult):
                    self._budget.add(self._prices, outcome.n_prompt + len(outcome.logprobs), outcome.n_reused, 0)
                yield start + i, outcome

    def generate(self, prompt: Conversation | str, sampling: Sampling = USUAL) -> Completion:
        return generate_alone(self, prompt, sampling)

    def score(self, context: Conversation | str, continuation: str) -> list[float]:
        return score_alone(self, context, continuation)
