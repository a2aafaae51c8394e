"""The scheduler: which request runs when. Plain Python, no torch, so that it can be tested without a model.

Requests are admitted first come, first served, while a row is free and the tokens they may come to hold (prompt and
answer) fit; nothing that waits behind is let past, so a long request cannot starve. One request is prefilled at a time,
in chunks, between decode steps: those who are already answering never wait longer than one chunk
(Sarathi: Agrawal et al., 2023). Departure from vLLM: tokens are reserved at admission, so nothing is ever preempted.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from kaiwa.core.errors import UserError


@dataclass(slots=True)
class Job:
    """A request as the scheduler sees it."""

    id: str
    prompt: int  # tokens in the prompt
    total: int  # tokens in the prompt and at most in the answer
    prefilled: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """One step: a chunk [start, stop) of one prompt, and every row that decodes one token."""

    prefill: tuple[str, int, int] | None
    decode: tuple[str, ...]


@dataclass(slots=True)
class Scheduler:
    max_rows: int
    max_tokens: int  # in the cache, over all rows
    chunk: int = 256
    waiting: deque[Job] = field(default_factory=deque)
    prefilling: Job | None = None
    decoding: dict[str, Job] = field(default_factory=dict)
    held: int = 0

    def add(self, id: str, prompt: int, answer: int) -> None:
        """Queues a request. UserError if it can never fit."""
        if prompt + answer > self.max_tokens:
            raise UserError(
                f"the request may come to {prompt + answer} tokens, the cache holds {self.max_tokens}; shorten it"
            )
        self.waiting.append(Job(id, prompt, prompt + answer))

    def plan(self) -> Plan:
        """Admits what fits and says what to run now."""
        row = self.prefilling is None and len(self.decoding) < self.max_rows
        if row and self.waiting and self.held + self.waiting[0].total <= self.max_tokens:
            self.prefilling = self.waiting.popleft()
            self.held += self.prefilling.total
        job = self.prefilling
        prefill = None
        if job is not None:
            prefill = (job.id, job.prefilled, min(job.prompt, job.prefilled + self.chunk))
        return Plan(prefill, tuple(self.decoding))

    def reused(self, id: str, tokens: int) -> None:
        """The first `tokens` of a prompt are in the cache already (call before its first chunk runs)."""
        if self.prefilling is not None and self.prefilling.id == id:
            self.prefilling.prefilled = min(tokens, self.prefilling.prompt - 1)

    def prefilled(self, id: str, stop: int) -> bool:
        """The prompt is in the cache up to `stop`. True when it is whole: the request decodes from now on."""
        job = self.prefilling
        assert job is not None
        assert job.id == id, f"{id} is not the request that is being prefilled"
        job.prefilled = stop
        if stop < job.prompt:
            return False
        self.prefilling = None
        self.decoding[id] = job
        return True

    def remove(self, id: str) -> bool:
        """Finished or cancelled, wherever it stands. False if there is no such request."""
        if id in self.decoding:
            self.held -= self.decoding.pop(id).total
            return True
        if self.prefilling is not None and self.prefilling.id == id:
            self.held -= self.prefilling.total
            self.prefilling = None
            return True
        for job in self.waiting:
            if job.id == id:
                self.waiting.remove(job)
                return True
        return False

    @property
    def idle(self) -> bool:
        return not (self.waiting or self.decoding or self.prefilling)
