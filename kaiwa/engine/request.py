"""What is asked of the engine and what it answers. No torch here: the server process builds these too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from kaiwa.core.errors import UserError

MAX_ALTERNATIVES = 20


class TextTokenizer(Protocol):
    """What the engine needs of a tokenizer (kaiwa.tokenizer's has it)."""

    def encode(self, text: str) -> list[int]: ...
    def decode(self, ids: Sequence[int]) -> str: ...
    def decode_bytes(self, ids: Sequence[int]) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One continuation of one prompt. (`n` answers of a prompt are n requests with different seeds.)

    temperature 0 is greedy; top_k 0 and top_p 1 switch the filters off. `stop` ends the answer at a string that is
    not part of it, `stop_ids` at a token. `logprobs`: how many alternatives to report beside each token.
    `prompt_logprobs`: report the prompt's own tokens as well.
    """

    id: str
    prompt_ids: tuple[int, ...]
    max_tokens: int
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()
    logprobs: int = 0
    prompt_logprobs: bool = False

    def __post_init__(self) -> None:
        if not self.prompt_ids:
            raise UserError("the prompt is empty; give at least one token")
        if self.max_tokens < 0:
            raise UserError(f"max_tokens is {self.max_tokens}; it must be at least 0")
        check_sampling(self.temperature, self.top_k, self.top_p)
        if not 0 <= self.logprobs <= MAX_ALTERNATIVES:
            raise UserError(f"logprobs is {self.logprobs}; it must be from 0 to {MAX_ALTERNATIVES}")
        if any(not s for s in self.stop):
            raise UserError("a stop string is empty; leave it out")


def check_sampling(temperature: float, top_k: int, top_p: float) -> None:
    """A UserError for values no sampler can use."""
    if not 0.0 <= temperature <= 100.0:
        raise UserError(f"temperature is {temperature}; it must be from 0 to 100")
    if top_k < 0:
        raise UserError(f"top_k is {top_k}; it must be at least 0 (0: all tokens)")
    if not 0.0 < top_p <= 1.0:
        raise UserError(f"top_p is {top_p}; it must be above 0 and at most 1")


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """One token: its log-probability (None for the first of a prompt) and the likeliest alternatives, best first.

    Log-probabilities are natural logarithms at the sampling temperature (at 1 for greedy), before top-k and top-p.
    """

    id: int
    logprob: float | None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What became known of one request in one step. `finish_reason` is None until the last event of a request."""

    id: str
    tokens: tuple[TokenInfo, ...] = ()
    text: str = ""
    finish_reason: str | None = None  # "stop", "length", "cancelled"
    prompt: tuple[TokenInfo, ...] = ()
    cached: int = 0  # prompt tokens that were not computed again
