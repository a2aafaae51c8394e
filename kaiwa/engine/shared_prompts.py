"""Many prompts from a list, continued or scored: a common prefix is computed only once.

The serving engine does the work, by the C++ step or by torch. Prompts go in sorted, so prompts with a common prefix
are neighbours: the prefix is computed for the first prompt, and its keys and values are shared with the others.
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
SCORED = Sampling(max_tokens=0)


class SharedPrompts:
    """Continuation and scoring of many prompts with one decoder.

    adapter: the adapter to compute with; requests refer to the adapter as `name`. share=False: every prompt is computed
    from its first token (the slow twin in tests).
    """

    def __init__(
        self,
        decoder: Decoder,
        tokenizer: TextTokenizer | None,
        *,
        name: str = "",
        adapter: Adapter | None = None,
        max_rows: int = ROWS,
        share: bool = True,
    ) -> None:
        self.engine = Engine(decoder, tokenizer, max_rows=max_rows, reuse=share, exact=False)
        self.name = name
        if adapter is not None:
            self.engine.add_adapter(name, adapter)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion | UserError]]:
        """Yield (index, answer) as answers end; a failed request gives its error.

        UserError for a prompt longer than the context, before any work.
        """
        limit = self.engine.max_length
        for request in requests:
            if len(request.prompt_ids) >= limit:
                raise UserError(
                    f"request {request.id} has {len(request.prompt_ids)} tokens; the model takes {limit - 1}"
                )
        index = {request.id: i for i, request in enumerate(requests)}
        for id, outcome in self._run(sorted(requests, key=lambda request: request.prompt_ids)):
            i = index[id]
            yield i, outcome if isinstance(outcome, UserError) else _completion(requests[i], outcome)

    def score(self, pairs: Sequence[tuple[Ids, Ids]]) -> list[tuple[list[float], int]]:
        """Return for each (context, continuation) the natural log-probabilities of the continuation's tokens, and how
        many tokens of the context were not computed again."""
        requests = [
            Request(
                id=str(i),
                prompt_ids=context + continuation,
                sampling=SCORED,
                prompt_logprobs=True,
                logprobs_from=len(context),
                adapter=self.name,
            )
            for i, (context, continuation) in enumerate(pairs)
        ]
        scores: list[tuple[list[float], int]] = [([], 0)] * len(pairs)
        for id, outcome in self._run(sorted(requests, key=lambda request: request.prompt_ids)):
            if isinstance(outcome, UserError):
                raise outcome
            scores[int(id)] = [token.logprob or 0.0 for token in outcome[-1].prompt], outcome[-1].cached
        return scores

    def _run(self, requests: list[Request]) -> Iterator[tuple[str, list[Event] | UserError]]:
        """Yield each request's id with all its events, or with its error, in order of completion."""
        waiting = list(reversed(requests))
        under_way: dict[str, list[Event]] = {}
        try:
            while waiting or under_way:
                while waiting and len(under_way) < QUEUE:
                    request = waiting.pop()
                    try:
                        self.engine.add(request)
                    except UserError as error:
                        yield request.id, error
                    else:
                        under_way[request.id] = []
                for event in self.engine.step():
                    under_way[event.id].append(event)
                    if event.finish_reason is not None:
                        events = under_way.pop(event.id)
                        yield event.id, UserError(event.error) if event.error else events
        finally:  # the caller stopped listening
            for id in under_way:
                self.engine.cancel(id)


def _completion(request: Request, events: list[Event]) -> Completion:
    tokens = [token for event in events for token in event.tokens]
    return Completion(
        text="".join(event.text for event in events),
        ids=tuple(token.id for token in tokens),
        logprobs=tuple(token.logprob or 0.0 for token in tokens),
        finish_reason=events[-1].finish_reason or "length",
        n_prompt=len(request.prompt_ids),
        n_reused=events[0].cached,
        n_tokens=len(tokens),
    )
