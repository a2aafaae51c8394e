"""Server-sent events: how one is written, and the stream behind the dot in the header."""

from __future__ import annotations

import asyncio
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


async def changes(look: Callable[[], Mapping[str, Any]], every: float = LOOK_EVERY) -> AsyncIterator[str]:
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
        await asyncio.sleep(every)
