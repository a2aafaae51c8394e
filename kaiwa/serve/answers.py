"""The single path from a request to an answer, for the API and the pages: defence, metrics, shares, and the engine."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from kaiwa.catalog.entries import Entry, check_writes, entry_by_name
from kaiwa.core.errors import UserError
from kaiwa.serve.defence import shield
from kaiwa.serve.exceptions import APIError, EngineRefused
from kaiwa.serve.http.bounded_json import JSONObject
from kaiwa.serve.http.metrics import AnswerTimer
from kaiwa.serve.http.rate_limit import Share, share_of
from kaiwa.serve.http.sse import EVENTS, stream_response, unless_disconnected
from kaiwa.serve.openai.choice import AnswerChoice
from kaiwa.serve.openai.protocol import Body
from kaiwa.serve.services import ServerServices
from kaiwa.serve.worker.wire import Admitted, Failed, Generate, ModelPrompt, Reply, Started, Tokens

ADMIT_SECONDS = 10.0  # how long a stream waits until the engine has accepted all requests; see `follow_admitted`


@dataclass(frozen=True, slots=True)
class AnswerEvent:
    """A reply of the engine to request number `index`, and the answer's state after the reply."""

    index: int
    reply: Reply
    choice: AnswerChoice


AnswerStream = AsyncGenerator[AnswerEvent, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFormat:
    """The format of an API answer: `whole` makes the body of a finished answer, `stream` the lines of a stream.

    media_type: of a stream.
    """

    whole: Callable[[list[AnswerChoice]], JSONObject]
    stream: Callable[[AnswerStream], AsyncGenerator[str, None]]
    media_type: str = EVENTS


@dataclass(frozen=True, slots=True)
class AdmittedAnswers:
    """The events of answers accepted by the engine, and the answers that have had an event."""

    events: AnswerStream
    choices: Sequence[AnswerChoice]


async def resolve(services: ServerServices, name: str) -> Entry:
    """Return the catalog's entry of a name. APIError (404) for anything else, also for a path."""
    known = await asyncio.to_thread(services.models)
    try:
        return entry_by_name(name, known)
    except UserError as error:
        raise APIError(404, str(error), "model_not_found", "model") from None


async def resolve_writer(services: ServerServices, name: str) -> Entry:
    """Return the catalog's entry of a name. APIError for an unknown one (404), and for an embedding model (400)."""
    entry = await resolve(services, name)
    try:
        check_writes(entry)
    except UserError as error:
        raise APIError(400, str(error), error.code, error.field) from None
    return entry


def for_each_choice(request: Generate, prompts: Sequence[ModelPrompt], n: int) -> list[Generate]:
    """Return n requests for each prompt; choice i samples with seed + i."""
    sampling = request.sampling
    choices = [replace(sampling, seed=sampling.seed + i) for i in range(n)]
    return [replace(request, prompt=prompt, sampling=choice) for prompt in prompts for choice in choices]


def response_headers(body: Body, choices: Iterable[AnswerChoice] = ()) -> dict[str, str]:
    """Return headers with the names of request fields, and of keywords of its schema, without effect; and how many of
    the oldest turns were dropped.
    """
    choices = list(choices)
    unenforced = dict.fromkeys(name for choice in choices for name in choice.unenforced)
    headers = {"X-Kaiwa-Ignored": _listed(body.ignored()), "X-Kaiwa-Unenforced": _listed(unenforced)}
    if n_dropped := max((choice.n_dropped for choice in choices), default=0):
        headers["X-Kaiwa-Dropped-Turns"] = str(n_dropped)
    return {name: value for name, value in headers.items() if value}


def _listed(names: Iterable[str]) -> str:
    """Return names as a header's value, without those that no header may hold."""
    return ", ".join(name for name in names if name.isascii() and name.isprintable())[:500]


async def respond(
    services: ServerServices,
    request: Request,
    body: Body,
    requests: Sequence[Generate],
    form: AnswerFormat,
    *,
    stream: bool | None = None,
) -> Response:
    """Answer an API request: as a stream if requested, else whole. Status 499 if the client goes away first.

    stream: whether it is requested (None: as the body's field says).
    """
    share = share_of(request)
    if getattr(body, "stream", None) if stream is None else stream:
        admitted = await unless_disconnected(request, follow_admitted(services, requests, share))
        if admitted is None:
            return Response(status_code=499)
        return stream_response(form.stream(admitted.events), response_headers(body, admitted.choices), form.media_type)
    choices = await unless_disconnected(request, collect(services, requests, share))
    if choices is None:
        return Response(status_code=499)
    return JSONResponse(form.whole(choices), headers=response_headers(body, choices))


async def collect(
    services: ServerServices, requests: Sequence[Generate], share: Share | None = None
) -> list[AnswerChoice]:
    """Return the finished answers, in the order of the requests."""
    choices: dict[int, AnswerChoice] = {}
    async with contextlib.aclosing(follow(services, requests, share)) as events:
        async for event in events:
            choices[event.index] = event.choice
    return [choices[i] for i in range(len(requests))]


async def follow(services: ServerServices, requests: Sequence[Generate], share: Share | None = None) -> AnswerStream:
    """Yield the events of the answers, under the server's defence and counted in its metrics.

    share: the client's, with one answer counted already. APIError if the share is too small, or a request is refused.
    """
    if share is not None:
        share.take(len(requests) - 1)
    choices = [AnswerChoice() for _ in requests]
    timers = [AnswerTimer(services.metrics) for _ in requests]
    async with contextlib.aclosing(shield.generate(services.engine, services.shield, requests)) as replies:
        try:
            async for index, reply in replies:
                _update(choices[index], timers[index], reply)
                yield AnswerEvent(index, reply, choices[index])
        except (asyncio.CancelledError, GeneratorExit):
            services.metrics.cancelled += sum(choice.finish is None for choice in choices)
            raise
        finally:
            if share is not None:
                n_prompt, n_answer = (sum(getattr(c, name) for c in choices) for name in ("prompt_tokens", "n_tokens"))
                services.usage.add(share.client, n_prompt, n_answer)


def _update(choice: AnswerChoice, timer: AnswerTimer, reply: Reply) -> None:
    if isinstance(reply, Failed):
        raise EngineRefused(reply.status, reply.message, reply.code, reply.param)
    if isinstance(reply, Admitted):
        choice.unenforced, choice.n_dropped = reply.unenforced, reply.n_dropped
    elif isinstance(reply, Started):
        choice.start(reply.prompt_tokens, reply.cached, reply.prompt, reply.markup)
        choice.fingerprint = reply.fingerprint
        timer.add_prompt(reply.prompt_tokens, reply.cached)
    elif isinstance(reply, Tokens):
        choice.add(reply.text, reply.n, reply.tokens, reply.finish)
        choice.stop = reply.stop
        timer.add_tokens(reply.n)


async def follow_admitted(
    services: ServerServices, requests: Sequence[Generate], share: Share | None = None, seconds: float = ADMIT_SECONDS
) -> AdmittedAnswers:
    """Return `follow`'s events once the engine has accepted every request, so a refusal becomes an HTTP status.

    After `seconds` the stream begins anyway, for instance while a model is loading; a refusal is then an event.
    """
    events = follow(services, requests, share)
    early: list[AnswerEvent] = []
    waiting, deadline = len(requests), time.monotonic() + seconds
    pending: asyncio.Task[AnswerEvent] | None = None
    try:
        while waiting:
            pending = pending or asyncio.create_task(_next(events))
            done, _ = await asyncio.wait({pending}, timeout=max(0.0, deadline - time.monotonic()))
            if not done:
                break
            task, pending = pending, None
            early.append(task.result())
            waiting -= isinstance(early[-1].reply, Admitted)
    except BaseException:
        await _end(events, pending)
        raise
    return AdmittedAnswers(_resume(events, early, pending), [event.choice for event in early])


async def _resume(
    events: AnswerStream, early: list[AnswerEvent], pending: asyncio.Task[AnswerEvent] | None
) -> AnswerStream:
    """Yield the early events, the pending event, and the rest, without admissions."""
    try:
        for event in early:
            if not isinstance(event.reply, Admitted):
                yield event
        while True:
            try:
                event = await (pending or anext(events))
            except StopAsyncIteration:
                return
            pending = None
            if not isinstance(event.reply, Admitted):
                yield event
    finally:
        await _end(events, pending)


async def _next(events: AnswerStream) -> AnswerEvent:
    return await anext(events)


async def _end(events: AnswerStream, pending: asyncio.Task[AnswerEvent] | None) -> None:
    if pending is not None:
        pending.cancel()
        with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration, Exception):
            await pending
    await events.aclose()
