"""A server under a path of another: https://example.org/kaiwa/v1/models is this server's /v1/models."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class RootPath:
    """ASGI middleware that takes the proxy's path off a request's path, whether or not the proxy has done so.

    Everything inside sees the server's own paths: what needs the admin key is told by them.
    """

    def __init__(self, app: ASGIApp, *, root_path: str) -> None:
        self.app, self.root_path = app, root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if path == self.root_path or path.startswith(self.root_path + "/"):
            inner = path[len(self.root_path) :] or "/"
            raw = scope.get("raw_path", path.encode())
            prefix = self.root_path.encode()
            raw = raw[len(prefix) :] or b"/" if raw.startswith(prefix) else inner.encode()
            scope = {**scope, "path": inner, "raw_path": raw}
        await self.app(scope, receive, send)
