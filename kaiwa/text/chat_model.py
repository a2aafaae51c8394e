"""Anything that continues text or messages: our engine in this process, or a server that speaks OpenAI's protocol.

The lab and the red team see a model only through these protocols.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from kaiwa.text.records import Completion, Conversation


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How an answer is drawn: at most so many tokens; temperature 0 is greedy, top_p 1 no filter; `stop` ends it."""

    max_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()


USUAL = Sampling()


@runtime_checkable
class ChatModel(Protocol):
    """`generate` answers a conversation (or continues a plain string); `score` says how likely a continuation is."""

    @property
    def name(self) -> str: ...

    def generate(self, prompt: Conversation | str, sampling: Sampling = USUAL) -> Completion:
        """UserError for bad input; ConnectionError when a server cannot be reached."""
        ...

    def score(self, context: str, continuation: str) -> list[float]:
        """Natural log-probabilities of the continuation's tokens after the context."""
        ...
