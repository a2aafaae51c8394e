"""Server-sent events, and the end of a request whose client has gone or does not read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, MutableMapping
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse

from kaiwa.serve.http.errors import from_exception
from kaiwa.serve.http.security import Receive, Scope, Send

T = TypeVar("T")
log = logging.getLogger("kaiwa.serve")
HEARTBEAT = 15.0  # seconds
STALL_SECONDS = 30.0
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
PING = ": ping\n\n"


def event(value: Any, name: str = "") -> str:
    """One event; `value` as JSON."""
    return (f"event: {name}\n" if name else "") + f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


async def with_heartbeat(lines: AsyncGenerator[str, None], seconds: float = HEARTBEAT) -> AsyncIterator[str]:
    """The same lines, and a comment when nothing came for a while. A failure becomes an error event."""
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
        yield event(from_exception(error).body())
    finally:
        if pending is not None:
            pending.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await pending
        await lines.aclose()


class Patient(StreamingResponse):
    """A stream whose client must read: one that takes nothing for STALL_SECONDS has its answer cancelled, so that it
    holds no place and what is written for it stays small."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: MutableMapping[str, Any]) -> None:
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    await send(message)
            except TimeoutError:
                raise Stalled from None

        try:
            await super().__call__(scope, receive, sent)
        except Stalled:
            log.warning("a client took nothing for %g s; its answer was cancelled", STALL_SECONDS)
        finally:
            await self.body_iterator.aclose()  # type: ignore[attr-defined]


class Stalled(Exception):
    """The client does not read."""


def streaming(lines: AsyncGenerator[str, None], headers: dict[str, str]) -> StreamingResponse:
    return Patient(with_heartbeat(lines), media_type="text/event-stream", headers=HEADERS | headers)


async def until_gone(request: Request, work: Any) -> Any:
    """The result of a coroutine, which is cancelled if the client goes away first (then None)."""
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
