"""Answers in progress: a task each in the server, so closing a page or losing the network loses nothing.

The task reads the engine's pieces, stores the text twice a second, and wakes all followers. A follower names the number
of characters received and gets the rest: O(n) in all, and a reconnecting browser goes on at its position. A stop
cancels the answer's task, which closes the engine's iterator, which cancels the generation.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from kaiwa.core.errors import UserError
from kaiwa.feedback.store import Store
from kaiwa.web.services import Answerer, AnswerRequest

STORE_SECONDS = 0.5  # between two writes to the store
UPDATE_SECONDS = 0.04  # between two updates to one follower


@dataclass(slots=True)
class AnswerInProgress:
    """The state of an answer. message: the id of its message in the store. waiting: the reason for waiting, if any."""

    message: int
    text: str = ""
    n_tokens: int = 0
    waiting: str = ""
    over: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Wake all waiting followers. Later followers wait for the next change."""
        old, self.changed = self.changed, asyncio.Event()
        old.set()


@dataclass(frozen=True, slots=True)
class AnswerUpdate:
    """News for a follower: more text (up to character `at`, in code points), a reason for waiting, or the end."""

    text: str = ""
    at: int = 0
    waiting: str = ""
    over: bool = False


class AnswersInProgress:
    """All answers in progress. Use from the server's event loop only."""

    def __init__(self, store: Store, engine: Answerer) -> None:
        self.store, self.engine = store, engine
        self.writing: dict[int, AnswerInProgress] = {}

    def begin(self, message: int, request: AnswerRequest) -> None:
        """Start to fill a streaming message of the store."""
        writing = AnswerInProgress(message)
        self.writing[message] = writing
        writing.task = asyncio.create_task(self._write(writing, request), name=f"answer {message}")

    async def stop(self, message: int) -> None:
        """Cancel the generation and keep its text so far. Do nothing if already over."""
        writing = self.writing.get(message)
        if writing is not None and writing.task is not None:
            writing.task.cancel()
            await asyncio.wait([writing.task])

    async def close(self) -> None:
        """Stop every answer, since the server goes down; each keeps its text so far."""
        for message in list(self.writing):
            await self.stop(message)

    async def follow(self, message: int, at: int) -> AsyncIterator[AnswerUpdate]:
        """Yield updates from character `at` on, until the answer is over."""
        writing = self.writing.get(message)
        waiting = ""
        while writing is not None:
            changed = writing.changed
            if len(writing.text) > at:
                new = writing.text[at:]
                at += len(new)
                yield AnswerUpdate(new, at)
                await asyncio.sleep(UPDATE_SECONDS)
            elif writing.over:
                break
            elif writing.waiting != waiting:
                waiting = writing.waiting
                yield AnswerUpdate(waiting=waiting)
            else:
                await changed.wait()
        yield AnswerUpdate(over=True)

    async def _write(self, writing: AnswerInProgress, request: AnswerRequest) -> None:
        started = stored = time.monotonic()
        state, reason, error = "failed", "", ""
        first, turns = 0.0, (0, 0)
        try:
            async for piece in self.engine.answer(request):
                writing.waiting = piece.waiting
                if piece.text and not first:
                    first = time.monotonic()
                writing.text += piece.text
                writing.n_tokens += piece.n_tokens
                reason = piece.finish_reason or reason
                turns = (piece.n_turns, piece.n_dropped) if piece.n_dropped else turns
                writing.wake()
                if time.monotonic() - stored > STORE_SECONDS:
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
                turns=turns,
            )
            writing.over = True
            self.writing.pop(writing.message, None)
            writing.wake()
