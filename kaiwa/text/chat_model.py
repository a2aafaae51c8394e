"""Anything that continues text or messages: our engine in this process, or a server that speaks OpenAI's protocol.

The lab and the red team see a model only through these protocols.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from kaiwa.core.errors import UserError
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

    def score(self, context: Conversation | str, continuation: str) -> list[float]:
        """Natural log-probabilities of the continuation's tokens after the context (or as the answer to messages)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One `generate` as a value."""

    prompt: Conversation | str
    max_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()

    @property
    def sampling(self) -> Sampling:
        return Sampling(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            stop=self.stop,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """One `score` as a value."""

    context: Conversation | str
    continuation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rated:
    """Log-probabilities of the continuation's tokens; tokens of the context and how many were not computed again."""

    logprobs: tuple[float, ...]
    n_prompt: int = 0
    n_reused: int = 0


@runtime_checkable
class ManyModel(ChatModel, Protocol):
    """A ChatModel that is better at many at once: shared prefixes, or requests side by side.

    Answers come as (index, answer) in any order, each as soon as it is known; one that failed is its exception.
    """

    def generate_many(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Completion | Exception]]: ...

    def score_many(self, rates: Sequence[Rate]) -> Iterator[tuple[int, Rated | Exception]]: ...


def generate_many(model: ChatModel, asks: Sequence[Ask]) -> Iterator[tuple[int, Completion | Exception]]:
    """All answers: by the model's own `generate_many`, or one after the other."""
    if isinstance(model, ManyModel):
        yield from model.generate_many(asks)
        return
    for i, ask in enumerate(asks):
        try:
            yield i, generate_one(model, ask)
        except (UserError, ConnectionError) as error:
            yield i, error


def generate_alone(model: ManyModel, prompt: Conversation | str, sampling: Sampling) -> Completion:
    """`generate` of a model that does its work in `generate_many`. Raises what it found wrong."""
    ask = Ask(
        prompt=prompt,
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=sampling.seed,
        stop=sampling.stop,
    )
    ((_, found),) = model.generate_many([ask])
    if isinstance(found, Exception):
        raise found
    return found


def score_alone(model: ManyModel, context: Conversation | str, continuation: str) -> list[float]:
    """`score` of a model that does its work in `score_many`. Raises what it found wrong."""
    ((_, found),) = model.score_many([Rate(context=context, continuation=continuation)])
    if isinstance(found, Exception):
        raise found
    return list(found.logprobs)


def generate_one(model: ChatModel, ask: Ask) -> Completion:
    return model.generate(ask.prompt, ask.sampling)


def score_many(model: ChatModel, rates: Sequence[Rate]) -> Iterator[tuple[int, Rated | Exception]]:
    """All log-probabilities: by the model's own `score_many`, or one after the other."""
    if isinstance(model, ManyModel):
        yield from model.score_many(rates)
        return
    for i, rate in enumerate(rates):
        try:
            yield i, Rated(logprobs=tuple(model.score(rate.context, rate.continuation)))
        except (UserError, ConnectionError) as error:
            yield i, error
