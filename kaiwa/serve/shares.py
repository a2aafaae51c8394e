"""How many answers one key may have under way, so that nobody takes all places. Without keys: one address.

More than its share is told 429 with Retry-After, before the body is read. The engine's own limit (engine_client.py)
stays the last word.
"""

from __future__ import annotations

from kaiwa.serve.errors import error_response
from kaiwa.serve.security import WHO, App, Receive, Scope, Send

ANSWERS = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings")
MOST = 96  # of the engine's 128


class Shares:
    """ASGI middleware. `most`: requests of one key under way at once, streams until they end."""

    def __init__(self, app: App, *, most: int = MOST) -> None:
        self.app, self.most = app, most
        self.under_way: dict[str, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in ANSWERS:
            await self.app(scope, receive, send)
            return
        who = _who(scope)
        if self.under_way.get(who, 0) >= self.most:
            said = f"{self.most} requests of yours are under way, which is the limit; try again in a moment"
            refusal = error_response(429, said, "too_many_requests", headers={"Retry-After": "2"})
            await refusal(scope, receive, send)
            return
        self.under_way[who] = self.under_way.get(who, 0) + 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.under_way[who] -= 1
            if not self.under_way[who]:
                del self.under_way[who]


def _who(scope: Scope) -> str:
    """Which key the guard has seen, or without keys where the request comes from."""
    return str(scope.get(WHO) or (scope.get("client") or ("",))[0])
