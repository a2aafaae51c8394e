"""Server-sent events, and cancellation for clients that disconnect or stop reading."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from kaiwa.serve.http.errors import error_event_body

T = TypeVar("T")
log = logging.getLogger("kaiwa.serve")
HEARTBEAT = 15.0  # seconds
STALL_SECONDS = 30.0
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
EVENTS = "text/event-stream"
PING = ": ping\n\n"
LINE_ENDS = {ord(c): f"\\u{ord(c):04x}" for c in "\x85\u2028\u2029"}  # those that JSON may leave as they are


def event(value: object, name: str = "") -> str:
    """Return an event as text, with `value` as its JSON."""
    return (f"event: {name}\n" if name else "") + f"data: {json_line(value)}\n\n"


def json_line(value: object) -> str:
    """Return JSON in one line, for clients that take U+0085, U+2028 and U+2029 for line ends as well (httpx does)."""
    return json.dumps(value, ensure_ascii=False).translate(LINE_ENDS)


async def with_heartbeat(lines: AsyncGenerator[str, None], seconds: float = HEARTBEAT) -> AsyncIterator[str]:
    """Yield the lines, and a comment after `seconds` without a line. A failure becomes an error event."""
    pending: asyncio.Task[str] | None = None
    try:
        while True:
            pending = pending or asyncio.ensure_future(anext(lines))
            done, _ = await asyncio.wait({pending}, timeout=seconds)
            if not done:
                yield PING
                continue
            task, pending = pending, None
            try:
                yield task.result()
            except StopAsyncIteration:
                return
    except Exception as error:
        yield event(error_event_body(error))
    finally:
        if pending is not None:
            pending.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await pending
        await lines.aclose()


class StallGuardedResponse(StreamingResponse):
    """A stream that ends when its client reads nothing for STALL_SECONDS.

    A stalled client would hold a place in the engine, and its unread output would pile up.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_or_stall(message: Message) -> None:
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    await send(message)
            except TimeoutError:
                raise ClientStalled from None

        try:
            await super().__call__(scope, receive, send_or_stall)
        except ClientStalled:
            log.warning("a client took nothing for %g s; its answer was cancelled", STALL_SECONDS)
        finally:
            await self.body_iterator.aclose()  # type: ignore[attr-defined]


class ClientStalled(Exception):
    """The client does not read."""


def stream_response(
    lines: AsyncGenerator[str, None], headers: dict[str, str], media_type: str = EVENTS
) -> StreamingResponse:
    """Return a stream as a response. Only events have a comment while nothing else is sent."""
    content = with_heartbeat(lines) if media_type == EVENTS else lines
    return StallGuardedResponse(content, media_type=media_type, headers=HEADERS | headers)


async def unless_disconnected(request: Request, work: Coroutine[object, object, T]) -> T | None:
    """Return the result of `work`, or None if the client disconnects first; `work` is then cancelled."""
    task = asyncio.ensure_future(work)
    try:
        while True:
            done, _ = await asyncio.wait({task}, timeout=0.25)
            if done:
                return task.result()
            if await request.is_disconnected():
                return None
    finally:
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
