"""A model of the engine process as a ChatModel, for the judges of a defence.

Judges are plain functions that wait; they run in threads of the defence's, and the engine is asked from the server's
loop. The request that is judged has no place in the engine yet, so a judge never waits for its own request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from kaiwa.catalog.entries import Entry
from kaiwa.core.errors import UserError
from kaiwa.serve.worker.client import EngineClient, EngineRefused
from kaiwa.text.chat_model import GenerateCall, ScoreCall, ScoreResult
from kaiwa.text.records import Completion, Conversation
from kaiwa.text.sampling import USUAL, Sampling

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

    def generate_many(self, asks: Sequence[GenerateCall]) -> Iterator[tuple[int, Completion | Exception]]:
        raise UserError("a judge of the server only scores")

    def score(self, context: Conversation | str, continuation: str) -> list[float]:
        ((_, found),) = self.score_many([ScoreCall(context=context, continuation=continuation)])
        if isinstance(found, Exception):
            raise found
        return list(found.logprobs)

    def score_many(self, rates: Sequence[ScoreCall]) -> Iterator[tuple[int, ScoreResult | Exception]]:
        assert self.loop is not None, "the server's loop is not known yet"
        work = asyncio.run_coroutine_threadsafe(self._score(rates), self.loop)
        try:
            yield from enumerate(work.result(SECONDS))
        finally:
            work.cancel()

    async def _score(self, rates: Sequence[ScoreCall]) -> list[ScoreResult]:
        """Context and continuation are encoded apart, as LocalChatModel does: a threshold that was set there holds
        here."""
        about = self.entry.address()
        parts: dict[tuple[str, bool], list[int]] = {}
        for rate in rates:
            assert isinstance(rate.context, str), "judges ask in plain text"
            parts |= {(rate.context, True): [], (rate.continuation, False): []}
        asked = [{"op": "tokenize", **about, "prompt": text, "special": special} for text, special in parts]
        for part, told in zip(parts, await self.engine.ask(*asked), strict=True):
            parts[part] = told["tokens"]
        pairs = [(parts[str(rate.context), True], parts[rate.continuation, False]) for rate in rates]
        echo = {"max_tokens": 0, "echo": True, "detailed": True}
        found: dict[int, ScoreResult] = {}
        async for index, message in self.engine.generate(*({**about, **echo, "prompt_ids": a + b} for a, b in pairs)):
            if message["kind"] == "error":
                raise EngineRefused(message)
            if message["kind"] == "start":
                scored = message["prompt"][-len(pairs[index][1]) :]
                found[index] = ScoreResult(logprobs=tuple(token["logprob"] for token in scored))
        return [found[index] for index in range(len(rates))]
