"""Who may talk to the server: this machine, under this machine's names, from its own pages.

Loopback alone does not protect: any web page can make a browser send requests to 127.0.0.1 (cross-site requests), or
point a name of its own there (DNS rebinding). So every request's Host must be ours, and what changes anything must not
come from another origin. There is no CORS header: other sites' pages can read nothing.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.exceptions import HTTPException

from kaiwa.serve.errors import error_body

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

NAMES = ("127.0.0.1", "localhost", "[::1]")
SAFE = ("GET", "HEAD", "OPTIONS")
MAX_BODY = 4 << 20  # bytes


class Guard:
    """ASGI middleware: Host, Origin, body size, API key (if one is set)."""

    def __init__(self, app: App, *, port: int, api_key: str = "", max_body: int = MAX_BODY) -> None:
        self.app, self.api_key, self.max_body = app, api_key, max_body
        self.hosts = {f"{name}:{port}" for name in NAMES} | (set(NAMES) if port == 80 else set())
        self.origins = {f"http://{host}" for host in self.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no websockets here
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await _refuse(send, *refusal)
            return
        await self.app(scope, _limited(receive, self.max_body), send)

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        headers = [(name.lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        hosts = [value.lower() for name, value in headers if name == b"host"]
        if len(hosts) != 1 or hosts[0] not in self.hosts:
            return (
                403,
                "this server answers only under its own address; use http://127.0.0.1 and its port",
                "wrong_host",
            )
        if scope["method"] not in SAFE:
            for origin in (value.lower() for name, value in headers if name == b"origin"):
                if origin not in self.origins:
                    return 403, "requests from other web sites are refused", "wrong_origin"
        lengths = [value for name, value in headers if name == b"content-length"]
        if any(not value.isdigit() or int(value) > self.max_body for value in lengths):
            return 413, f"the body is too large; at most {self.max_body:,} bytes are read", "body_too_large"
        if self.api_key and scope["path"].startswith("/v1/"):
            given = next((value for name, value in headers if name == b"authorization"), "")
            if not hmac.compare_digest(given.encode(), f"Bearer {self.api_key}".encode()):
                return 401, "the API key is missing or wrong", "invalid_api_key"
        return None


def _limited(receive: Receive, limit: int) -> Receive:
    seen = 0

    async def limited() -> MutableMapping[str, Any]:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise HTTPException(413, f"the body is too large; at most {limit:,} bytes are read")
        return message

    return limited


async def _refuse(send: Send, status: int, message: str, code: str) -> None:
    body = json.dumps(error_body(status, message, code)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
