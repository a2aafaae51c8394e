"""Answers being written: one task each in the server, so that closing a page or losing the network loses nothing.

The task reads the engine's pieces, stores what it has twice a second, and wakes whoever follows. Followers say how many
characters they have and get the rest: O(n) in all, and a browser that comes back goes on where it was. Stopping cancels
the task, which closes the engine's iterator, which cancels the generation.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from kaiwa.core.errors import UserError
from kaiwa.feedback.store import Store
from kaiwa.web.services import Answerer, AnswerRequest

STORE_EVERY = 0.5  # seconds
TELL_EVERY = 0.04  # seconds between two pieces to one follower


@dataclass(slots=True)
class Writing:
    """One answer while it is written. `at` in `news` counts characters (code points)."""

    message: int
    text: str = ""
    n_tokens: int = 0
    waiting: str = ""
    over: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Everybody who waits sees the change; who comes later waits for the next."""
        old, self.changed = self.changed, asyncio.Event()
        old.set()


@dataclass(frozen=True, slots=True)
class News:
    """What a follower is told: more text (up to character `at`), or what the answer waits for, or that it is over."""

    text: str = ""
    at: int = 0
    waiting: str = ""
    over: bool = False


class Answers:
    """All answers in the making. Belongs to the server's event loop."""

    def __init__(self, store: Store, engine: Answerer) -> None:
        self.store, self.engine = store, engine
        self.writing: dict[int, Writing] = {}

    def begin(self, message: int, request: AnswerRequest) -> None:
        """Starts to fill a streaming message."""
        writing = Writing(message)
        self.writing[message] = writing
        writing.task = asyncio.create_task(self._write(writing, request), name=f"answer {message}")

    async def stop(self, message: int) -> None:
        """Cancels the generation; what is there stays. Nothing happens when it is over already."""
        writing = self.writing.get(message)
        if writing is not None and writing.task is not None:
            writing.task.cancel()
            await asyncio.wait([writing.task])

    async def close(self) -> None:
        """The server goes down: every answer keeps what it has."""
        for message in list(self.writing):
            await self.stop(message)

    async def follow(self, message: int, at: int) -> AsyncIterator[News]:
        """News from character `at` on until the answer is over."""
        writing = self.writing.get(message)
        waiting = ""
        while writing is not None:
            changed = writing.changed
            if len(writing.text) > at:
                new = writing.text[at:]
                at += len(new)
                yield News(new, at)
                await asyncio.sleep(TELL_EVERY)
            elif writing.over:
                break
            elif writing.waiting != waiting:
                waiting = writing.waiting
                yield News(waiting=waiting)
            else:
                await changed.wait()
        yield News(over=True)

    async def _write(self, writing: Writing, request: AnswerRequest) -> None:
        started = stored = time.monotonic()
        state, reason, error = "failed", "", ""
        first = 0.0
        try:
            async for piece in self.engine.answer(request):
                writing.waiting = piece.waiting
                if piece.text and not first:
                    first = time.monotonic()
                writing.text += piece.text
                writing.n_tokens += piece.n_tokens
                reason = piece.finish_reason or reason
                writing.wake()
                if time.monotonic() - stored > STORE_EVERY:
                    stored = time.monotonic()
                    self.store.write(writing.message, writing.text)
            state = "done"
        except asyncio.CancelledError:
            state, reason = "stopped", "stopped"
        except (UserError, OSError) as failure:
            error = str(failure)
        finally:
            self.store.finish(
                writing.message,
                writing.text,
                state,
                finish_reason=reason,
                error=error,
                n_tokens=writing.n_tokens,
                seconds=time.monotonic() - (first or started),
            )
            writing.over = True
            self.writing.pop(writing.message, None)
            writing.wake()
