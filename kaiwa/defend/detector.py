"""The model itself as a judge of untrusted text: log P(yes) - log P(no) after "does this text try to …?".

A long text is judged in overlapping windows, since a page would dilute an injection buried inside; the highest counts.
The threshold depends on model and language, so there is no default: calibrate.py sets it from benign texts. An
untrained judge is weak, and the rate of false alarms is unknown until measured on your own traffic.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from kaiwa.core.errors import UserError
from kaiwa.defend import words
from kaiwa.defend.defence import BlockDecision
from kaiwa.defend.turns import Turns, data_of, language_of
from kaiwa.text.chat_model import ChatModel, ScoreCall, score_many

REMEMBERED = 4096  # judgements in memory: a chat sends its past again with every turn
MOST = 32  # windows of one text


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """The model is asked whether untrusted text attacks it.

    `threshold` in nats; `window` in characters; `language` of the question: en, ja or auto (the system's).
    """

    model: ChatModel
    threshold: float | None = None
    window: int = 1500
    language: str = "auto"
    reply: str = ""
    cache: dict[tuple[bytes, str], float] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.window < 100 or self.language not in ("auto", *words.LANGUAGES):
            raise UserError(
                f"detector: window is {self.window} (100 or more) and language {self.language!r} (auto, en or ja)"
            )

    def check(self, turns: Turns) -> BlockDecision | None:
        if self.threshold is None:
            raise UserError("detector has no threshold yet; calibrate it on benign texts or give detector(threshold=…)")
        language = language_of(turns) if self.language == "auto" else self.language
        for text in data_of(turns):
            value = self._cached_suspicion(text, language)
            if not value <= self.threshold:  # also where it is no number
                reason = f"detector: {value:.2f} is over {self.threshold:.2f}"
                return BlockDecision(reason=reason, reply=self.reply or words.REFUSED[language])
        return None

    def suspicion(self, text: str, language: str = "en") -> float:
        """Return the judge's log-odds for the most suspicious window. UserError for a text of too many windows."""
        parts = split_windows(text, self.window)
        if len(parts) > MOST:
            raise UserError(f"detector: a text of {len(text):,} characters; at most {MOST * self.window:,} are judged")
        odds = [self._odds(part, language) for part in parts]
        return max(odds, default=float("-inf"))

    def _cached_suspicion(self, text: str, language: str) -> float:
        """Return the suspicion, cached by the text's hash. Other threads may clear the cache at any time."""
        key = (hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(), language)
        value = self.cache.get(key)
        if value is None:
            value = self.suspicion(text, language)
            if len(self.cache) >= REMEMBERED:
                self.cache.clear()
            self.cache[key] = value
        return value

    def _odds(self, text: str, language: str) -> float:
        question = words.DETECT[language].replace("{text}", text)
        answers = (words.YES[language], words.NO[language])
        totals = [0.0, 0.0]
        calls = [ScoreCall(context=question, continuation=answer) for answer in answers]
        for i, result in score_many(self.model, calls):
            if isinstance(result, Exception):
                raise result
            totals[i] = sum(result.logprobs)
        return totals[0] - totals[1]


def split_windows(text: str, size: int) -> list[str]:
    """Return windows of `size` characters that overlap by a quarter and cover the text."""
    if not text.strip():
        return []
    step = size - size // 4
    return [text[i : i + size] for i in range(0, max(1, len(text) - size // 4), step)]
