"""A model of the engine process as a ChatModel, for the judges of a defence.

Judges are plain functions that wait; they run in threads of the defence's, and the engine is asked from the server's
loop. The request that is judged has no place in the engine yet, so a judge never waits for its own request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.engine.catalog import Entry
from kaiwa.serve.engine_client import EngineClient, EngineRefused
from kaiwa.text.chat_model import USUAL, Ask, Rate, Rated, Sampling
from kaiwa.text.records import Completion, Conversation

SECONDS = 60.0  # a judge that takes longer has failed, and the request is refused


class EngineJudge:
    """A ManyModel. Not to be called from the loop's own thread."""

    def __init__(self, engine: EngineClient, entry: Entry) -> None:
        self.engine, self.entry = engine, entry
        self.loop: asyncio.AbstractEventLoop | None = None

    @property
    def name(self) -> str:
        return self.entry.name

    def generate(self, prompt: Conversation | str, sampling: Sampling = USUAL) -> Completion:
        raise UserError("a judge of the server only scores")

    def generate_many(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Completion | Exception]]:
        raise UserError("a judge of the server only scores")

    def score(self, context: Conversation | str, continuation: str) -> list[float]:
        ((_, found),) = self.score_many([Rate(context=context, continuation=continuation)])
        if isinstance(found, Exception):
            raise found
        return list(found.logprobs)

    def score_many(self, rates: Sequence[Rate]) -> Iterator[tuple[int, Rated | Exception]]:
        assert self.loop is not None, "the server's loop is not known yet"
        work = asyncio.run_coroutine_threadsafe(self._score(rates), self.loop)
        try:
            yield from enumerate(work.result(SECONDS))
        finally:
            work.cancel()

    async def _score(self, rates: Sequence[Rate]) -> list[Rated]:
        asked = []
        for rate in rates:
            assert isinstance(rate.context, str), "judges ask in plain text"
            asked.append(
                {
                    "model": self.entry.name,
                    "path": str(self.entry.path),
                    "created": self.entry.created,
                    "prompt": rate.context + rate.continuation,
                    "max_tokens": 0,
                    "echo": True,
                    "detailed": True,
                }
            )
        found: dict[int, Rated] = {}
        async for index, message in self.engine.generate(*asked):
            if message["kind"] == "error":
                raise EngineRefused(message)
            if message["kind"] == "start":
                context = rates[index].context
                assert isinstance(context, str)
                found[index] = Rated(logprobs=tuple(after(message["prompt"], len(context.encode()))))
        return [found[index] for index in range(len(rates))]


def after(tokens: Sequence[dict[str, Any]], n_bytes: int) -> Iterator[float]:
    """Log-probabilities of the tokens that end beyond the first n_bytes; one across the border counts."""
    end = 0
    for token in tokens:
        end += len(token["bytes"])
        if end > n_bytes and token["logprob"] is not None:
            yield token["logprob"]
