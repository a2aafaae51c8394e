"""Anything that continues text or messages: our engine in this process, or a server that speaks OpenAI's protocol.

The lab and the red team see a model only through these protocols.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from kaiwa.core.errors import UserError
from kaiwa.text.records import Completion, Conversation
from kaiwa.text.sampling import USUAL, Sampling


@runtime_checkable
class ChatModel(Protocol):
    """`generate` answers a conversation (or continues a plain string); `score` says how likely a continuation is."""

    @property
    def name(self) -> str: ...

    def generate(self, prompt: Conversation | str, sampling: Sampling = USUAL) -> Completion:
        """Answer a prompt. UserError for bad input; ConnectionError when a server cannot be reached."""
        ...

    def score(self, context: Conversation | str, continuation: str) -> list[float]:
        """Return natural log-probabilities of the continuation's tokens after the context (or as the answer to the
        context).
        """
        ...


@runtime_checkable
class WhiteBox(ChatModel, Protocol):
    """A ChatModel whose gradients with respect to the prompt's tokens are at hand."""

    def swaps(
        self, context: Conversation | str, stretch: str, continuation: str, k: int = 64
    ) -> list[tuple[str, tuple[str, ...]]]:
        """Return, for each token of a stretch of the context, its text and the k tokens in its place that would most
        raise the continuation's probability, by the gradient. UserError where there is no gradient.
        """
        ...


class ModelUnavailable(ConnectionError):
    """A model that could not be reached or gave no answer.

    code: "timeout", "unreachable", "disconnected" (the connection broke), or an HTTP status.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class OpenedModel:
    """A model, the model's identity in a cache of answers, and the form of prompts ("chat" or "text")."""

    model: ChatModel
    identity: str = ""
    form: str = "chat"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateCall:
    """One `generate` as a value."""

    prompt: Conversation | str
    sampling: Sampling = USUAL
    tools: tuple[Mapping[str, Any], ...] = ()  # functions that the model may call, as in OpenAI's protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreCall:
    """One `score` as a value."""

    context: Conversation | str
    continuation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreResult:
    """Log-probabilities of the continuation's tokens; tokens of the context and how many were not computed again."""

    logprobs: tuple[float, ...]
    n_prompt: int = 0
    n_reused: int = 0


@runtime_checkable
class ManyModel(ChatModel, Protocol):
    """A ChatModel that is better at many calls at once: shared prefixes, or requests side by side.

    Answers come as (index, answer) in any order, each as soon as known; a failed call's answer is the exception.
    """

    def generate_many(self, calls: Sequence[GenerateCall]) -> Iterator[tuple[int, Completion | Exception]]: ...

    def score_many(self, calls: Sequence[ScoreCall]) -> Iterator[tuple[int, ScoreResult | Exception]]: ...


def generate_many(model: ChatModel, calls: Sequence[GenerateCall]) -> Iterator[tuple[int, Completion | Exception]]:
    """Yield all answers: by the model's own `generate_many`, or in order by `generate`."""
    if isinstance(model, ManyModel):
        yield from model.generate_many(calls)
        return
    for i, call in enumerate(calls):
        try:
            if call.tools:
                raise no_tools(model.name)
            yield i, model.generate(call.prompt, call.sampling)
        except (UserError, ConnectionError) as error:
            yield i, error


def no_tools(name: str) -> UserError:
    """Return the error of a model in this process, which takes no tools of the protocol."""
    return UserError(f"{name}: tools of the protocol need a server: start kaiwa up, and give --url and --model")


def score_many(model: ChatModel, calls: Sequence[ScoreCall]) -> Iterator[tuple[int, ScoreResult | Exception]]:
    """Yield all log-probabilities: by the model's own `score_many`, or in order by `score`."""
    if isinstance(model, ManyModel):
        yield from model.score_many(calls)
        return
    for i, call in enumerate(calls):
        try:
            yield i, ScoreResult(logprobs=tuple(model.score(call.context, call.continuation)))
        except (UserError, ConnectionError) as error:
            yield i, error


def generate_alone(model: ManyModel, prompt: Conversation | str, sampling: Sampling) -> Completion:
    """Answer one prompt with a model that works in `generate_many`. Raise the exception that the model reports."""
    ((_, outcome),) = model.generate_many([GenerateCall(prompt=prompt, sampling=sampling)])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def score_alone(model: ManyModel, context: Conversation | str, continuation: str) -> list[float]:
    """Score one continuation with a model that works in `score_many`. Raise the exception that the model reports."""
    ((_, outcome),) = model.score_many([ScoreCall(context=context, continuation=continuation)])
    if isinstance(outcome, Exception):
        raise outcome
    return list(outcome.logprobs)
