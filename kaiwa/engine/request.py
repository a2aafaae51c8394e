"""What is asked of the engine and what it answers. No torch here: the server process builds these too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from kaiwa.core.errors import UserError

MAX_ALTERNATIVES = 20
MAX_BIAS = 100.0
GrammarKind = Literal["json_schema", "json_object", "regex", "lark"]


class TextTokenizer(Protocol):
    """What the engine needs of a tokenizer (kaiwa.tokenizer's has it)."""

    def encode(self, text: str) -> list[int]: ...
    def decode(self, ids: Sequence[int]) -> str: ...
    def decode_bytes(self, ids: Sequence[int]) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """What an answer must look like. source: a JSON schema as text, "" for json_object, a regex, or a Lark grammar."""

    kind: GrammarKind
    source: str = ""

    def __post_init__(self) -> None:
        if self.kind not in get_args(GrammarKind):
            raise UserError(f"grammar kind is {self.kind!r}; it must be one of {', '.join(get_args(GrammarKind))}")
        if self.kind != "json_object" and not self.source:
            raise UserError(f"the {self.kind} grammar is empty; give its text")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One continuation of one prompt. (`n` answers of a prompt are n requests with different seeds.)

    temperature 0 is greedy; top_k 0, top_p 1 and min_p 0 switch the filters off. `stop` ends the answer at a string
    that is not part of it, `stop_ids` at a token. `logprobs`: how many alternatives to report beside each token.
    `prompt_logprobs`: report the prompt's own tokens as well, from `logprobs_from` on (what is before need not be
    computed again if it is known). `adapter`: the name of one that the engine has (empty: the model as it is); a soft
    prompt comes before the prompt's tokens and is none of them.

    In order: repetition_penalty (Keskar et al., 2019: logits of tokens of prompt and answer divided by it where
    positive, else multiplied), presence_penalty and frequency_penalty (OpenAI's: subtracted from tokens of the answer,
    once and per occurrence), logit_bias ((token, addend) pairs), grammar, temperature, min_p (Nguyen et al., 2024:
    tokens at least min_p times as likely as the likeliest), top_k, top_p.
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
    logprobs_from: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    grammar: Grammar | None = None
    adapter: str = ""

    def __post_init__(self) -> None:
        if not self.prompt_ids:
            raise UserError("the prompt is empty; give at least one token")
        if self.max_tokens < 0:
            raise UserError(f"max_tokens is {self.max_tokens}; it must be at least 0")
        check_sampling(self.temperature, self.top_k, self.top_p)
        if not 0 <= self.logprobs <= MAX_ALTERNATIVES:
            raise UserError(f"logprobs is {self.logprobs}; it must be from 0 to {MAX_ALTERNATIVES}")
        if not 0 <= self.logprobs_from < len(self.prompt_ids):
            raise UserError(f"logprobs_from is {self.logprobs_from}; the prompt has {len(self.prompt_ids)} tokens")
        if any(not s for s in self.stop):
            raise UserError("a stop string is empty; leave it out")
        self._check_shaping()

    def _check_shaping(self) -> None:
        if not 0.0 <= self.min_p <= 1.0:
            raise UserError(f"min_p is {self.min_p}; it must be from 0 to 1")
        if not 0.0 < self.repetition_penalty <= 10.0:
            raise UserError(f"repetition_penalty is {self.repetition_penalty}; it must be above 0 and at most 10")
        for name in ("presence_penalty", "frequency_penalty"):
            if not -2.0 <= getattr(self, name) <= 2.0:
                raise UserError(f"{name} is {getattr(self, name)}; it must be from -2 to 2")
        for id, bias in self.logit_bias:
            if not math.isfinite(bias) or abs(bias) > MAX_BIAS:
                raise UserError(f"logit_bias of token {id} is {bias}; it must be from {-MAX_BIAS:g} to {MAX_BIAS:g}")

    @property
    def shaped(self) -> bool:
        """Whether anything is done to the logits before the temperature."""
        neutral = (self.repetition_penalty, self.presence_penalty, self.frequency_penalty) == (1.0, 0.0, 0.0)
        return not neutral or bool(self.logit_bias) or self.grammar is not None


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

    Log-probabilities are natural logarithms of the model's own distribution at the sampling temperature (at 1 for
    greedy): before penalties, biases, grammar and filters, so that they are finite and equal what scoring would give.
    """

    id: int
    logprob: float | None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What became known of one request in one step. `finish_reason` is None until the last event of a request.

    "error" ends one request that cannot go on (its logits are not numbers, its grammar allows nothing); `error` says
    in one line why. Such an event has no tokens; those before it stand.
    """

    id: str
    tokens: tuple[TokenInfo, ...] = ()
    text: str = ""
    finish_reason: str | None = None  # "stop", "length", "error"
    prompt: tuple[TokenInfo, ...] = ()
    cached: int = 0  # prompt tokens that were not computed again
    error: str = ""
