"""Perplexity filter: text that the model finds very unlikely is refused (Alon and Kamfonas 2023; Jain et al. 2023).

Suspicion is the highest mean of -log p over any window of tokens, since a short odd suffix hides in a long message. The
filter stops strings found by search, encodings and noise, but no attack in fluent words. The threshold depends on model
and language, so there is no default: the threshold is set on benign texts (calibrate.py) or by hand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from kaiwa.core.errors import UserError
from kaiwa.defend import words
from kaiwa.defend.defence import BlockDecision
from kaiwa.defend.turns import Turns, data_of, language_of
from kaiwa.text.chat_model import ChatModel

CHUNK = 1200  # characters scored at once: fits into the shortest context of our models
MOST = 64  # chunks of one text
START = "\n"  # the context of a text's first chunk


@dataclass(frozen=True, slots=True, kw_only=True)
class Perplexity:
    """Untrusted text that the model finds very unlikely is refused.

    `threshold` in nats a token; `window` in tokens.
    """

    model: ChatModel
    threshold: float | None = None
    window: int = 10
    reply: str = ""

    def __post_init__(self) -> None:
        if self.window < 1:
            raise UserError(f"perplexity: window is {self.window}; give 1 token or more")

    def check(self, turns: Turns) -> BlockDecision | None:
        if self.threshold is None:
            raise UserError(
                "perplexity has no threshold yet; calibrate it on benign texts or give perplexity(threshold=…)"
            )
        for text in data_of(turns):
            value = self.suspicion(text)
            if not value <= self.threshold:
                reason = f"perplexity: {value:.2f} nats a token are over {self.threshold:.2f}"
                return BlockDecision(reason=reason, reply=self.reply or words.REFUSED[language_of(turns)])
        return None

    def suspicion(self, text: str, language: str = "en") -> float:
        """Return the mean nats per token in the least likely window; a text shorter than the window is one window."""
        if len(text) > MOST * CHUNK:
            raise UserError(f"perplexity: a text of {len(text):,} characters; at most {MOST * CHUNK:,} are scored")
        losses: list[float] = []
        for i in range(0, len(text), CHUNK):
            losses += [-p for p in self.model.score(text[i - 100 : i] if i else START, text[i : i + CHUNK])]
        return highest_mean(losses, self.window)


def highest_mean(values: list[float], window: int) -> float:
    """Return the highest mean over any `window` neighbours, or over all if there are fewer. NaN and infinity stay."""
    if not values:
        return -math.inf
    if not all(map(math.isfinite, values)):
        return math.nan if any(map(math.isnan, values)) else math.inf
    window = min(window, len(values))
    total = sum(values[:window])
    best = total
    for oldest, newest in zip(values, values[window:], strict=False):
        total += newest - oldest
        best = max(best, total)
    return best / window
