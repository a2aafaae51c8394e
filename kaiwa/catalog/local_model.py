"""A ChatModel in the same process: a loaded model and an engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kaiwa.catalog.load import LoadedModel
from kaiwa.core.errors import UserError
from kaiwa.engine.engine import Engine
from kaiwa.engine.native import step
from kaiwa.engine.request import Event, Request
from kaiwa.engine.shared_prompts import SharedPrompts
from kaiwa.text.chat_model import GenerateCall, ScoreCall, ScoreResult, no_tools
from kaiwa.text.records import Completion, Conversation
from kaiwa.text.sampling import USUAL, Sampling


class LocalChatModel:
    """A ChatModel and ManyModel over weights in the same process."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self.engine = Engine(loaded.decoder, loaded.tokenizer)
        if loaded.adapter is not None:
            self.engine.add_adapter(loaded.entry.name, loaded.adapter)
        self._shared_prompts: SharedPrompts | None = None
        self._number = 0

    @property
    def name(self) -> str:
        return self.loaded.entry.name

    def generate(self, prompt: Conversation | str, sampling: Sampling = USUAL) -> Completion:
        """Answer a conversation or continue a text. UserError for bad input."""
        events = list(self.stream(prompt, sampling))
        tokens = [token for event in events for token in event.tokens]
        return Completion(
            text="".join(event.text for event in events),
            ids=tuple(token.id for token in tokens),
            logprobs=tuple(token.logprob or 0.0 for token in tokens),
            finish_reason=events[-1].finish_reason or "length",
        )

    def stream(self, prompt: Conversation | str, sampling: Sampling = USUAL) -> Iterator[Event]:
        """Yield the answer's events as generated. Closing the iterator cancels the rest."""
        request = self._request(sampling, self._ids(prompt))
        self.engine.add(request)
        try:
            while not self.engine.idle:
                for event in self.engine.step():
                    if event.error:
                        raise UserError(event.error)
                    yield event
        finally:
            self.engine.cancel(request.id)

    def score(self, context: Conversation | str, continuation: str) -> list[float]:
        """Return the natural log-probabilities of the continuation's tokens after the context."""
        before, answer = self._pair(ScoreCall(context=context, continuation=continuation))
        if self.loaded.adapter is not None:
            return self._shared().score([(tuple(before), tuple(answer))])[0][0]
        return self.engine.score([before], [answer])[0]

    def swaps(
        self, context: Conversation | str, stretch: str, continuation: str, k: int = 64
    ) -> list[tuple[str, tuple[str, ...]]]:
        """Return each token of a stretch of the context with the k replacements that would most raise the
        continuation's probability (engine/white_box.py).
        """
        from kaiwa.engine.white_box import best_swaps

        if self.loaded.adapter is not None:
            raise UserError(f"{self.name}: no gradients through an adapter; export the merged model first")
        before, answer = self._pair(ScoreCall(context=context, continuation=continuation))
        return best_swaps(self.loaded.decoder, self.loaded.tokenizer, before, answer, stretch=stretch, k=k)

    def generate_many(self, calls: Sequence[GenerateCall]) -> Iterator[tuple[int, Completion | Exception]]:
        """Yield all answers; a common prefix of prompts is computed once."""
        places: list[int] = []
        requests: list[Request] = []
        limit = self.loaded.context
        for i, call in enumerate(calls):
            try:
                if call.tools:
                    raise no_tools(self.name)
                ids = self._ids(call.prompt)
                if len(ids) >= limit:
                    raise UserError(f"the prompt has {len(ids)} tokens, the model takes {limit - 1}; shorten it")
                requests.append(self._request(call.sampling, ids))
                places.append(i)
            except UserError as error:
                yield i, error
        for place, completion in self._shared().generate(requests):
            yield places[place], completion

    def score_many(self, calls: Sequence[ScoreCall]) -> Iterator[tuple[int, ScoreResult | Exception]]:
        """Yield all log-probabilities; a common prefix of contexts is computed once."""
        places: list[int] = []
        pairs: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
        limit = self.loaded.context
        for i, call in enumerate(calls):
            try:
                before, answer = self._pair(call)
                if len(before) + len(answer) > limit:
                    raise UserError(f"{len(before)} + {len(answer)} tokens to score, the model takes {limit}")
                pairs.append((tuple(before), tuple(answer)))
                places.append(i)
            except UserError as error:
                yield i, error
        scores = self._shared().score(pairs)
        for place, (logprobs, reused) in enumerate(scores):
            yield places[place], ScoreResult(logprobs=tuple(logprobs), n_prompt=len(pairs[place][0]), n_reused=reused)

    def _shared(self) -> SharedPrompts:
        """Return the engine of bulk work, after waiting for the C++ step, so C++ or torch computes all of the work."""
        if self._shared_prompts is None:
            decoder, adapter = self.loaded.decoder, self.loaded.adapter
            step.wait(decoder)
            self._shared_prompts = SharedPrompts(
                decoder, self.loaded.tokenizer, name="" if adapter is None else self.name, adapter=adapter
            )
        return self._shared_prompts

    def _ids(self, prompt: Conversation | str) -> list[int]:
        return self.loaded.text_ids(prompt) if isinstance(prompt, str) else self.loaded.chat_ids(prompt)

    def _pair(self, call: ScoreCall) -> tuple[list[int], list[int]]:
        answer = self.loaded.tokenizer.encode(call.continuation)
        if not answer:
            raise UserError("the continuation is empty; there is nothing to score")
        return self._ids(call.context) or [self.loaded.tokenizer.document_end_id], answer

    def _request(self, sampling: Sampling, ids: Sequence[int]) -> Request:
        self._number += 1
        return Request(
            id=str(self._number),
            prompt_ids=tuple(ids),
            sampling=sampling,
            stop_ids=self.loaded.stop_ids,
            adapter="" if self.loaded.adapter is None else self.name,
        )
