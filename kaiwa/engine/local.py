"""A ChatModel in this process: a loaded model and an engine."""

from __future__ import annotations

from collections.abc import Iterator

from kaiwa.core.errors import UserError
from kaiwa.engine.engine import Engine
from kaiwa.engine.load import Loaded
from kaiwa.engine.request import Event, Request
from kaiwa.text.chat_model import USUAL, Sampling
from kaiwa.text.records import Completion, Conversation


class LocalChatModel:
    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.engine = Engine(loaded.decoder, loaded.tokenizer)
        self._number = 0

    @property
    def name(self) -> str:
        return self.loaded.entry.name

    def generate(self, prompt: Conversation | str, sampling: Sampling = USUAL) -> Completion:
        events = list(self.stream(prompt, sampling))
        tokens = [token for event in events for token in event.tokens]
        return Completion(
            text="".join(event.text for event in events),
            ids=tuple(token.id for token in tokens),
            logprobs=tuple(token.logprob or 0.0 for token in tokens),
            finish_reason=events[-1].finish_reason or "length",
        )

    def stream(self, prompt: Conversation | str, sampling: Sampling = USUAL) -> Iterator[Event]:
        """The answer as it comes. Whoever closes the iterator cancels the rest."""
        self._number += 1
        ids = self.loaded.text_ids(prompt) if isinstance(prompt, str) else self.loaded.chat_ids(prompt)
        request = Request(
            id=str(self._number),
            prompt_ids=tuple(ids),
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sampling.seed,
            stop=sampling.stop,
            stop_ids=self.loaded.stop_ids,
        )
        self.engine.add(request)
        try:
            while not self.engine.idle:
                yield from self.engine.step()
        finally:
            self.engine.cancel(request.id)

    def score(self, context: str, continuation: str) -> list[float]:
        tokenizer = self.loaded.tokenizer
        answer = tokenizer.encode(continuation)
        if not answer:
            raise UserError("the continuation is empty; there is nothing to score")
        before = self.loaded.text_ids(context) or [tokenizer.document_end_id]
        return self.engine.score([before], [answer])[0]
