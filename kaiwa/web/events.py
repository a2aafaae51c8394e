"""Server-sent events: how one is written, and the stream behind the dot in the header."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

EVENT_STREAM = "text/event-stream"
LOOK_EVERY = 1.0  # seconds
PING_EVERY = 15  # looks without news until a comment keeps the line open


def event(value: Mapping[str, Any], *, name: str = "", id: str = "") -> str:
    """One event. JSON has no bare line breaks, so a single data line is enough."""
    head = (f"event: {name}\n" if name else "") + (f"id: {id}\n" if id else "")
    return f"{head}data: {json.dumps(value, ensure_ascii=False)}\n\n"


class Ending:
    """Whether the server goes down. Streams end by themselves then, so that it need not wait for open pages."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def begin(self) -> None:
        self._event.set()

    async def within(self, seconds: float) -> bool:
        """Sleeps, at most until the end begins; True if it has."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), seconds)
        return self._event.is_set()


async def changes(
    look: Callable[[], Mapping[str, Any]], ending: Ending, every: float = LOOK_EVERY
) -> AsyncIterator[str]:
    """What `look` sees, whenever it is another than before."""
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
        if await ending.within(every):
            return
