"""A model of the engine process as a ChatModel, for the judges of a defence.

Judges are blocking functions in threads of the defence; the server's event loop sends their requests to the engine.
The judged request has no place in the engine yet, so a judge never waits for its own request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from kaiwa.catalog.entries import Entry
from kaiwa.core.errors import UserError
from kaiwa.serve.exceptions import EngineRefused
from kaiwa.serve.worker.client import EngineClient
from kaiwa.serve.worker.wire import Failed, Generate, ModelAddress, Started, TextPrompt, Tokenize, TokenPrompt
from kaiwa.text.chat_model import GenerateCall, ScoreCall, ScoreResult, score_alone
from kaiwa.text.records import Completion, Conversation
from kaiwa.text.sampling import USUAL, Sampling

SECONDS = 60.0  # a judge that takes longer has failed, and the request is refused


class EngineJudge:
    """A ManyModel for scoring only. Not to be called from the thread of the event loop."""

    def __init__(self, engine: EngineClient, entry: Entry) -> None:
        self.engine, self.model = engine, ModelAddress.of(entry)
        self.loop: asyncio.AbstractEventLoop | None = None

    @property
    def name(self) -> str:
        return self.model.name

    def generate(self, prompt: Conversation | str, sampling: Sampling = USUAL) -> Completion:
        raise UserError("a judge of the server only scores")

    def generate_many(self, calls: Sequence[GenerateCall]) -> Iterator[tuple[int, Completion | Exception]]:
        raise UserError("a judge of the server only scores")

    def score(self, context: Conversation | str, continuation: str) -> list[float]:
        return score_alone(self, context, continuation)

    def score_many(self, calls: Sequence[ScoreCall]) -> Iterator[tuple[int, ScoreResult | Exception]]:
        assert self.loop is not None, "Shield.start binds the judge to the server's loop"
        work = asyncio.run_coroutine_threadsafe(self._score(calls), self.loop)
        try:
            yield from enumerate(work.result(SECONDS))
        finally:
            work.cancel()

    async def _score(self, calls: Sequence[ScoreCall]) -> list[ScoreResult]:
        """Return the scores. Context and continuation are encoded apart, as LocalChatModel does.

        A threshold calibrated with LocalChatModel is therefore valid here too.
        """
        parts: dict[tuple[str, bool], tuple[int, ...]] = {}
        for call in calls:
            assert isinstance(call.context, str), "judges ask in plain text"
            parts |= {(call.context, True): (), (call.continuation, False): ()}
        questions = [Tokenize(model=self.model, prompt=TextPrompt(text), special=special) for text, special in parts]
        for part, ids in zip(parts, await self.engine.tokenize(questions), strict=True):
            parts[part] = ids.tokens
        pairs = [(parts[str(call.context), True], parts[call.continuation, False]) for call in calls]
        requests = [
            Generate(
                model=self.model,
                prompt=TokenPrompt(context + continuation),
                sampling=Sampling(max_tokens=0),
                echo=True,
                detailed=True,
            )
            for context, continuation in pairs
        ]
        scores: dict[int, ScoreResult] = {}
        async for index, reply in self.engine.generate(*requests):
            if isinstance(reply, Failed):
                raise EngineRefused(reply.status, reply.message, reply.code, reply.param)
            if isinstance(reply, Started):
                continuation = reply.prompt[-len(pairs[index][1]) :]
                scores[index] = ScoreResult(logprobs=tuple(token.logprob or 0.0 for token in continuation))
        return [scores[index] for index in range(len(calls))]
