"""How many answers one key may have under way, so that nobody takes all places. Without keys: one address.

More than its share is told 429 with Retry-After. Every request counts as one before its body is read; what else it asks
for (n, several prompts or inputs) is taken by `TAKE` once that is known, and all is given back when the request ends.
The engine's own limit (engine_client.py) stays the last word.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from kaiwa.serve.http.errors import APIError, error_response
from kaiwa.serve.http.security import WHO, App, Receive, Scope, Send

ANSWERS = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings")
MOST = 96  # of the engine's 128
TAKE: ContextVar[Callable[[int], None]] = ContextVar("take", default=lambda answers: None)  # for this request


class Shares:
    """ASGI middleware. `most`: answers of one key under way at once, until the request that asked for them ends."""

    def __init__(self, app: App, *, most: int = MOST) -> None:
        self.app, self.most = app, most
        self.under_way: dict[str, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in ANSWERS:
            await self.app(scope, receive, send)
            return
        who = _who(scope)
        if self.under_way.get(who, 0) >= self.most:
            refusal = error_response(429, self._full(who), "too_many_requests", headers={"Retry-After": "2"})
            await refusal(scope, receive, send)
            return
        held = 0

        def take(answers: int) -> None:
            """So many more for this request. APIError where the key's share does not hold them."""
            nonlocal held
            if held + answers > self.most:
                said = f"{held + answers} answers in one request; you may have {self.most} under way, so ask for fewer"
                raise APIError(400, said, "invalid_value")
            if self.under_way.get(who, 0) + answers > self.most:
                raise APIError(429, self._full(who), "too_many_requests")
            held += answers
            self.under_way[who] = self.under_way.get(who, 0) + answers

        take(1)
        before = TAKE.set(take)
        try:
            await self.app(scope, receive, send)
        finally:
            self.under_way[who] -= held
            if not self.under_way[who]:
                del self.under_way[who]
            TAKE.reset(before)

    def _full(self, who: str) -> str:
        """What a key is told whose share does not hold what it asks for."""
        n = self.under_way.get(who, 0)
        return f"{n} answers of yours are under way, {self.most} are the limit; try again in a moment"


def _who(scope: Scope) -> str:
    """Which key the guard has seen, or without keys where the request comes from."""
    return str(scope.get(WHO) or (scope.get("client") or ("",))[0])
