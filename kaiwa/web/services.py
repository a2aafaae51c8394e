"""Narrow protocols of everything used by the pages. commands/page_services.py implements them.

The pages never import the server or the engine, so any implementation of the protocols works.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from kaiwa.text.records import Message
from kaiwa.text.sampling import Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """A model to talk to. `about` and `starters` are by language; `bits` per weight, 0 where unknown.

    state: "ready" (in memory), "idle" (loads at the first message), "loading", "failed" (`why` has the reason).
    """

    name: str
    state: str = "idle"
    why: str = ""
    about: Mapping[str, str] = field(default_factory=dict)
    languages: Sequence[str] = ()
    starters: Mapping[str, Sequence[str]] = field(default_factory=dict)
    parameters: int = 0
    bits: float = 0.0
    n_bytes: int = 0
    context: int = 0  # tokens
    origin: str = ""  # where it comes from, in a few words
    parents: Sequence[str] = ()
    run: str = ""  # the build that made it, if one did


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """The dot in the header. state: "still", "working", "loading", "restarting" or "gone"."""

    state: str = "still"
    tokens_per_second: float = 0.0
    why: str = ""
    defence: str = ""  # the name of the one that answers go through


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRequest:
    """A request for an answer. The answer's length is cut to the room left in the context.

    client: the client whose share the answer takes: a key, or without keys an address.
    """

    model: str
    messages: Sequence[Message]
    sampling: Sampling
    client: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPiece:
    """A piece of an answer, whole characters only.

    waiting: "loading" or "queued" before the first token. finish_reason: "stop" or "length" in the last piece.
    n_turns, n_dropped: in an early piece, turns of the conversation and how many of the oldest the model does not see.
    """

    text: str = ""
    n_tokens: int = 0
    finish_reason: str = ""
    waiting: str = ""
    n_turns: int = 0
    n_dropped: int = 0


class Answerer(Protocol):
    """The engine for the pages. Closing the iterator cancels the generation; a UserError names the failure."""

    def answer(self, request: AnswerRequest) -> AsyncIterator[AnswerPiece]: ...

    def status(self) -> EngineStatus: ...


class Catalog(Protocol):
    def models(self) -> Sequence[ModelCard]:
        """Return the models to talk to, the default first."""
        ...

    def failed(self) -> Sequence[ModelCard]:
        """Return the models that are here and cannot be loaded, with the reason."""
        ...


class BuildControl(Protocol):
    """Builds as child processes. Starting and stopping raise UserError with the remedy."""

    def recipes(self) -> Sequence[str]: ...

    def start_build(self, recipe: str) -> None: ...

    def stop_build(self, run: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningJob:
    """A fine-tuning job. status: OpenAI's ("queued", "running", "paused", "succeeded", "failed", "cancelled").

    `trained`: the finished model's name; `events`: messages, newest first.
    """

    id: str
    status: str
    model: str
    method: str
    suffix: str = ""
    trained: str = ""
    tokens: int = 0
    seconds_left: float | None = None
    error: str = ""
    events: Sequence[str] = ()


class Tuning(Protocol):
    def jobs(self, events: int, scope: Mapping[str, object]) -> Sequence[TuningJob]:
        """Return the jobs that a request of a scope may see, newest first, each with its latest `events` messages."""
        ...

    def cancel(self, id: str) -> None:
        """Cancel a job. UserError for a finished job, and for an unknown id."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PageServices:
    """home: where conversations live (KAIWA_HOME). runs: the folder of build folders. tuning: None where no model can
    be trained."""

    engine: Answerer
    catalog: Catalog
    jobs: BuildControl
    home: Path
    runs: Path
    tuning: Tuning | None = None
