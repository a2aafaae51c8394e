"""A model whose calls go through the call cache: a repeated call costs nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from kaiwa.lab.asking.call_cache import Asker, CallCache, call_key
from kaiwa.lab.asking.program import Call, Reply
from kaiwa.text.chat_model import (
    ChatModel,
    GenerateCall,
    ModelUnavailable,
    ScoreCall,
    ScoreResult,
    generate_alone,
    score_alone,
)
from kaiwa.text.records import Completion, Conversation
from kaiwa.text.sampling import USUAL, Sampling

ROLE_STOPS = ("\n\nUser:", "\n\nSystem:")  # where a model that continues plain text would go on with another turn


class CachedModel:
    """A ManyModel over another model and a call cache. `form`: "text" for a model that has not learnt to chat.

    `done` counts the answered generate calls; `show` receives the count.
    """

    def __init__(self, model: ChatModel, cache: CallCache, *, identity: str = "", form: str = "chat") -> None:
        self.form, self.done, self.name = form, 0, model.name
        self.show: Callable[[int], None] = lambda done: None
        self._asker = Asker(model, cache, identity, lambda done, total: self.show(self.done + done))

    def generate_many(self, calls: Sequence[GenerateCall]) -> Iterator[tuple[int, Completion | Exception]]:
        """Yield the answers in order; a failed call is a ModelUnavailable."""
        requests = [Call(request=self._with_form(call)) for call in calls]
        new = sum(not self.is_cached(request) for request in requests)
        self.done += len(calls) - new
        for i, reply in enumerate(self._asker(requests)):
            yield i, _completion(reply)
        self.done += new
        self.show(self.done)

    def score_many(self, calls: Sequence[ScoreCall]) -> Iterator[tuple[int, ScoreResult | Exception]]:
        """Yield the scores in order. The cache keeps a continuation's sum only: each token gets the mean."""
        show, self._asker.show = self._asker.show, lambda done, total: None
        try:
            replies = self._asker([Call(request=call) for call in calls])
        finally:
            self._asker.show = show
        for i, reply in enumerate(replies):
            if reply.error:
                yield i, ModelUnavailable(reply.error, reply.error_code)
                continue
            logprobs = (reply.logprob / max(1, reply.n_scored),) * reply.n_scored
            yield i, ScoreResult(logprobs=logprobs, n_prompt=reply.n_prompt, n_reused=reply.n_reused)

    def generate(self, prompt: Conversation | str, sampling: Sampling = USUAL) -> Completion:
        return generate_alone(self, prompt, sampling)

    def score(self, context: Conversation | str, continuation: str) -> list[float]:
        return score_alone(self, context, continuation)

    def is_cached(self, call: Call) -> bool:
        """Return whether the cache holds the reply to `call`."""
        return call_key(self._asker.identity, call) in self._asker.cache.replies

    def _with_form(self, call: GenerateCall) -> GenerateCall:
        """Return the call in the model's form: a conversation as plain text with role names, for form "text"."""
        if self.form == "chat" or isinstance(call.prompt, str):
            return call
        text = "\n\n".join(f"{m.role.capitalize()}: {m.content}" for m in call.prompt)
        sampling = dataclasses.replace(call.sampling, stop=(*call.sampling.stop, *ROLE_STOPS))
        return dataclasses.replace(call, prompt=f"{text}\n\nAssistant:", sampling=sampling)


def _completion(reply: Reply) -> Completion | Exception:
    if reply.error:
        return ModelUnavailable(reply.error, reply.error_code)
    return Completion(
        text=reply.text,
        finish_reason=reply.finish_reason,
        n_prompt=reply.n_prompt,
        n_reused=reply.n_reused,
        n_tokens=reply.n_tokens,
        tool_calls=reply.tool_calls,
    )
