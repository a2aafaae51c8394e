"""A server under a path of another: https://example.org/kaiwa/v1/models is this server's /v1/models."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

ROOT = "kaiwa.root"  # the entry of a request's scope with the path, for the pages' links


class RootPath:
    """ASGI middleware that takes the proxy's path off a request's path, whether or not the proxy has done so.

    Everything inside sees the server's own paths: what needs the admin key is told by them. Redirects and cookies get
    the path put on again.
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
        hosts = [value for name, value in scope.get("headers", ()) if name == b"host"]

        async def send_outside(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [(name, self._outside(name.lower(), value, hosts)) for name, value in message["headers"]]
                message = {**message, "headers": headers}
            await send(message)

        await self.app({**scope, ROOT: self.root_path}, receive, send_outside)

    def _outside(self, name: bytes, value: bytes, hosts: list[bytes]) -> bytes:
        """Return a header as the proxy's clients must see it."""
        if name == b"set-cookie":
            return value.replace(b"Path=/;", b"Path=" + self.root_path.encode() + b";")
        if name != b"location":
            return value
        target = urlsplit(value)
        if target.netloc and target.netloc not in hosts:
            return value
        return target._replace(path=self.root_path.encode() + target.path).geturl()
