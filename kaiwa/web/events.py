"""Server-sent events: their text format, and the stream behind the dot in the header."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

EVENT_STREAM = "text/event-stream"
LOOK_SECONDS = 1.0
PING_EVERY = 15  # looks without a change, until a comment keeps the connection open


def event(value: Mapping[str, Any], *, name: str = "", id: str = "") -> str:
    """Return an event as text. JSON has no bare line breaks, so a single data line is enough."""
    head = (f"event: {name}\n" if name else "") + (f"id: {id}\n" if id else "")
    return f"{head}data: {json.dumps(value, ensure_ascii=False)}\n\n"


class Shutdown:
    """A flag for the server's shutdown. Once set, streams end by themselves, so open pages do not delay the end."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def begin(self) -> None:
        self._event.set()

    async def begins_within(self, seconds: float) -> bool:
        """Wait for the shutdown, at most so many seconds; return whether the shutdown has begun."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), seconds)
        return self._event.is_set()


async def changes(
    look: Callable[[], Mapping[str, Any]], shutdown: Shutdown, seconds: float = LOOK_SECONDS
) -> AsyncIterator[str]:
    """Yield an event with the result of `look`, whenever the result has changed."""
    last: Mapping[str, Any] | None = None
    quiet = 0
    while True:
        now = await asyncio.to_thread(look)
        if now != last:
            last, quiet = now, 0
            yield event(now)
        elif (quiet := quiet + 1) >= PING_EVERY:
            quiet = 0
            yield ": still here\n\n"
        if await shutdown.begins_within(seconds):
            return
