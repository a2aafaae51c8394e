"""Many prompts at once by the C++ step: the serving engine, fed from a list. `shared.py` is the same with torch.

Prompts go in sorted, so that those that begin alike stand side by side: what they share is computed once, and while
they are answered its keys and values are read once for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kaiwa.core.errors import UserError
from kaiwa.engine.engine import Engine
from kaiwa.engine.request import Event, Request, TextTokenizer
from kaiwa.model.adapter import Adapter
from kaiwa.model.decoder import Decoder
from kaiwa.text.records import Completion
from kaiwa.text.sampling import Sampling

ROWS = 32
QUEUE = 256  # requests that are in the engine at a time

Ids = tuple[int, ...]


class Many:
    """`adapter`: what scores are asked of, under the name that requests give it."""

    def __init__(
        self, decoder: Decoder, tokenizer: TextTokenizer | None, name: str = "", adapter: Adapter | None = None
    ) -> None:
        self.engine, self.name = Engine(decoder, tokenizer, max_rows=ROWS), name
        if adapter is not None:
            self.engine.add_adapter(name, adapter)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion]]:
        """Answers as they end, as (index, answer). UserError for a prompt that does not fit."""
        index = {request.id: i for i, request in enumerate(requests)}
        for id, events in self._run(sorted(requests, key=lambda request: request.prompt_ids)):
            tokens = [token for event in events for token in event.tokens]
            yield (
                index[id],
                Completion(
                    text="".join(event.text for event in events),
                    ids=tuple(token.id for token in tokens),
                    logprobs=tuple(token.logprob or 0.0 for token in tokens),
                    finish_reason=events[-1].finish_reason or "length",
                    n_prompt=len(requests[index[id]].prompt_ids),
                    n_reused=events[0].cached,
                    n_tokens=len(tokens),
                ),
            )

    def score(self, pairs: Sequence[tuple[Ids, Ids]]) -> list[tuple[list[float], int]]:
        """(context, continuation) -> log-probabilities of the continuation's tokens, context tokens reused."""
        asked = [
            Request(
                id=str(i),
                prompt_ids=context + continuation,
                sampling=Sampling(max_tokens=0),
                prompt_logprobs=True,
                logprobs_from=len(context),
                adapter=self.name,
            )
            for i, (context, continuation) in enumerate(pairs)
        ]
        found: list[tuple[list[float], int]] = [([], 0)] * len(pairs)
        for id, events in self._run(sorted(asked, key=lambda request: request.prompt_ids)):
            found[int(id)] = [token.logprob or 0.0 for token in events[-1].prompt], events[-1].cached
        return found

    def _run(self, requests: list[Request]) -> Iterator[tuple[str, list[Event]]]:
        """Whole answers, as they end."""
        todo = list(reversed(requests))
        under_way: dict[str, list[Event]] = {}
        try:
            while todo or under_way:
                while todo and len(under_way) < QUEUE:
                    self.engine.add(todo[-1])
                    under_way[todo.pop().id] = []
                for event in self.engine.step():
                    under_way[event.id].append(event)
                    if event.error:
                        raise UserError(event.error)
                    if event.finish_reason is not None:
                        yield event.id, under_way.pop(event.id)
        finally:  # somebody stopped listening, or one request was wrong
            for id in under_way:
                self.engine.cancel(id)
