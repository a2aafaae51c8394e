"""The scheduler: decides which request runs when. Plain Python, no torch, so tests need no model.

Requests are admitted first come, first served, while a row is free and their tokens (prompt and longest answer) fit;
no request overtakes another, so a long request cannot starve. A step prefills at most `chunk` tokens of prompts, so
decoding requests never wait longer than a chunk takes (Sarathi: Agrawal et al., 2023); the rest of a chunk goes to the
next prompts. Departure from vLLM: tokens are reserved at admission, so no request is ever preempted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from kaiwa.core.errors import UserError
from kaiwa.engine.request import CONTEXT_EXCEEDED


@dataclass(slots=True)
class ScheduledRequest:
    """The token counts of a request."""

    id: str
    prompt: int  # tokens in the prompt
    total: int  # tokens in the prompt and at most in the answer
    prefilled: int = 0


@dataclass(frozen=True, slots=True)
class StepPlan:
    """A step: parts [start, stop) of prompts, and every row to decode a token for. All prompts but the last are
    complete after the step."""

    prefill: tuple[tuple[str, int, int], ...]
    decode: tuple[str, ...]


@dataclass(slots=True)
class Scheduler:
    """The waiting, prefilling and decoding requests. `max_waiting`: length of the queue; others are refused."""

    max_rows: int
    max_tokens: int  # in the cache, over all rows
    chunk: int = 256
    max_waiting: int = 10_000
    waiting: dict[str, ScheduledRequest] = field(default_factory=dict)  # in order
    prefilling: dict[str, ScheduledRequest] = field(default_factory=dict)
    decoding: dict[str, ScheduledRequest] = field(default_factory=dict)
    reserved: int = 0

    def add(self, id: str, prompt: int, answer: int) -> None:
        """Queue a request. UserError if the request can never fit, or too many wait."""
        if prompt + answer > self.max_tokens:
            raise UserError(
                f"the request may come to {prompt + answer} tokens, the cache holds {self.max_tokens}; shorten it",
                field="prompt",
                code=CONTEXT_EXCEEDED,
            )
        if len(self.waiting) >= self.max_waiting:
            raise UserError(f"{len(self.waiting)} requests wait already, which is the limit; try again later")
        self.waiting[id] = ScheduledRequest(id, prompt, prompt + answer)

    def plan(self, cached: Callable[[str], int | None] = lambda id: 0) -> StepPlan:
        """Admit waiting requests while they fit, and return the next step.

        cached(id): the number of cached tokens of a newly admitted prompt; None to let the prompt wait for a prefix
        being computed for another request.
        """
        chunks: list[tuple[str, int, int]] = []
        room = self.chunk
        decode = tuple(self.decoding)
        for job in self.prefilling.values():
            room -= self._part(job, room, chunks)
        while room > 0 and (admitted := self._admit(cached)) is not None:
            room -= self._part(admitted, room, chunks)
        return StepPlan(tuple(chunks), decode)

    def _admit(self, cached: Callable[[str], int | None]) -> ScheduledRequest | None:
        if not self.waiting or len(self.decoding) + len(self.prefilling) >= self.max_rows:
            return None
        job = next(iter(self.waiting.values()))
        if self.reserved + job.total > self.max_tokens:
            return None
        reused = cached(job.id)
        if reused is None:
            return None
        del self.waiting[job.id]
        job.prefilled = min(reused, job.prompt - 1)
        self.reserved += job.total
        self.prefilling[job.id] = job
        return job

    @staticmethod
    def _part(job: ScheduledRequest, room: int, chunks: list[tuple[str, int, int]]) -> int:
        stop = min(job.prompt, job.prefilled + room)
        chunks.append((job.id, job.prefilled, stop))
        return stop - job.prefilled

    def note_prefilled(self, id: str, stop: int) -> bool:
        """Note a prompt as cached up to `stop`. Return whether the prompt is complete: its row decodes from now on."""
        job = self.prefilling[id]
        job.prefilled = stop
        if stop < job.prompt:
            return False
        self.decoding[id] = self.prefilling.pop(id)
        return True

    def remove(self, id: str) -> bool:
        """Remove a finished or cancelled request. Return False for an unknown id."""
        if self.waiting.pop(id, None) is not None:
            return True
        job = self.decoding.pop(id, None) or self.prefilling.pop(id, None)
        if job is None:
            return False
        self.reserved -= job.total
        return True

    @property
    def idle(self) -> bool:
        """Whether no request waits or runs."""
        return not (self.waiting or self.decoding or self.prefilling)
