"""Requests to the engine and its events. No torch here: the server process builds requests too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from kaiwa.core.errors import UserError
from kaiwa.text.sampling import USUAL, Sampling

MAX_ALTERNATIVES = 20
CONTEXT_EXCEEDED = "context_length_exceeded"  # the code of errors about prompts and answers that are too long


class TextTokenizer(Protocol):
    """The tokenizer methods called by the engine (kaiwa.tokenizer implements them)."""

    def encode(self, text: str) -> list[int]: ...
    def decode(self, ids: Sequence[int]) -> str: ...
    def decode_bytes(self, ids: Sequence[int]) -> bytes: ...


@dataclass(frozen=True, slots=True)
class ReasoningLimit:
    """At most `tokens` of reasoning; then the answer gets the closing tag. opening, closing: the tags' token ids.

    is_open: the prompt has opened the reasoning already.
    """

    tokens: int
    opening: tuple[int, ...]
    closing: tuple[int, ...]
    is_open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A continuation of a prompt. (`n` answers to a prompt are n requests with different seeds.)

    `stop_ids` end the answer at a token. `logprobs`: how many alternatives to report for each token.
    `prompt_logprobs`: report the prompt's own tokens as well, from `logprobs_from` on (earlier tokens may come from
    the cache). `adapter`: the name of an adapter known to the engine (empty: the plain model); a soft prompt comes
    before the prompt's tokens and is not counted among them. `shown_specials`: special tokens that have a text in the
    answer, each with its text. `reasoning`: the limit on the answer's reasoning.
    """

    id: str
    prompt_ids: tuple[int, ...]
    sampling: Sampling = USUAL
    stop_ids: tuple[int, ...] = ()
    logprobs: int = 0
    prompt_logprobs: bool = False
    logprobs_from: int = 0
    adapter: str = ""
    shown_specials: tuple[tuple[int, str], ...] = ()
    reasoning: ReasoningLimit | None = None

    def __post_init__(self) -> None:
        if not self.prompt_ids:
            raise UserError("the prompt is empty; give at least one token", field="prompt")
        if not 0 <= self.logprobs <= MAX_ALTERNATIVES:
            raise UserError(f"logprobs is {self.logprobs}; it must be from 0 to {MAX_ALTERNATIVES}", field="logprobs")
        if not 0 <= self.logprobs_from < len(self.prompt_ids):
            raise UserError(f"logprobs_from is {self.logprobs_from}; the prompt has {len(self.prompt_ids)} tokens")


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """A token with its log-probability (None for the first of a prompt) and the likeliest alternatives, best first.

    Log-probabilities are natural logarithms of the model's own distribution at the sampling temperature (at 1 for
    greedy): before penalties, biases, grammar and filters, so always finite and equal to the values from scoring.
    """

    id: int
    logprob: float | None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The new tokens and text of a request after a step. `finish_reason` is None until the last event of a request.

    "error" ends a request that cannot go on (its logits are not numbers, its grammar allows no token); `error` gives
    the reason in a line. An error event has no tokens; earlier tokens stay valid.
    """

    id: str
    tokens: tuple[TokenInfo, ...] = ()
    text: str = ""
    finish_reason: str | None = None  # "stop", "length", "error"
    stop_string: str = ""  # the stop string that ended the answer, if one did
    prompt: tuple[TokenInfo, ...] = ()
    cached: int = 0  # prompt tokens that were not computed again
    error: str = ""
    error_field: str = ""  # the request's field at fault, such as "grammar"; empty: the model is
