"""The model itself as a judge of what comes in: log P(yes) - log P(no) after "does this text try to …?".

A long text is judged in windows that overlap, since an injection buried in a page is diluted by it; the highest counts.
The threshold is the user's: `calibrated` (calibrate.py) sets it on benign texts. An untrained judge is a weak one, and
its rate of false alarms says nothing until it is measured on one's own traffic.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from kaiwa.core.errors import UserError
from kaiwa.defend import words
from kaiwa.defend.defence import Block
from kaiwa.defend.turns import Turns, data_of, language_of
from kaiwa.text.chat_model import ChatModel, ScoreCall, score_many

REMEMBERED = 4096  # judgements kept: a chat sends its past again with every turn
MOST = 32  # windows of one text


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """The model is asked whether untrusted text attacks it.

    `threshold` in nats; `window` in characters; `language` of the question: en, ja or auto (the system's).
    """

    model: ChatModel
    threshold: float = 0.0
    window: int = 1500
    language: str = "auto"
    reply: str = ""
    seen: dict[tuple[bytes, str], float] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.window < 100 or self.language not in ("auto", *words.LANGUAGES):
            raise UserError(
                f"detector: window is {self.window} (100 or more) and language {self.language!r} (auto, en or ja)"
            )

    def check(self, turns: Turns) -> Block | None:
        language = language_of(turns) if self.language == "auto" else self.language
        for text in data_of(turns):
            value = self._judged(text, language)
            if not value <= self.threshold:  # also where it is no number
                reason = f"detector: {value:.2f} is over {self.threshold:.2f}"
                return Block(reason=reason, reply=self.reply or words.REFUSED[language])
        return None

    def suspicion(self, text: str, language: str = "en") -> float:
        """The judge's log-odds for its most suspicious window. UserError for a text of too many windows."""
        parts = windows(text, self.window)
        if len(parts) > MOST:
            raise UserError(f"detector: a text of {len(text):,} characters; at most {MOST * self.window:,} are judged")
        odds = [self._odds(part, language) for part in parts]
        return max(odds, default=float("-inf"))

    def _judged(self, text: str, language: str) -> float:
        """The suspicion, remembered by the text's hash; other threads may clear what is remembered at any time."""
        key = (hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(), language)
        value = self.seen.get(key)
        if value is None:
            value = self.suspicion(text, language)
            if len(self.seen) >= REMEMBERED:
                self.seen.clear()
            self.seen[key] = value
        return value

    def _odds(self, text: str, language: str) -> float:
        asked = words.DETECT[language].replace("{text}", text)
        answers = (words.YES[language], words.NO[language])
        totals = [0.0, 0.0]
        for i, found in score_many(self.model, [ScoreCall(context=asked, continuation=answer) for answer in answers]):
            if isinstance(found, Exception):
                raise found
            totals[i] = sum(found.logprobs)
        return totals[0] - totals[1]


def windows(text: str, size: int) -> list[str]:
    """Stretches of `size` characters that overlap by a quarter and cover the text."""
    if not text.strip():
        return []
    step = size - size // 4
    return [text[i : i + size] for i in range(0, max(1, len(text) - size // 4), step)]
