"""Access to the server: from the same machine, under its own names, from its own pages; otherwise only with a key.

Loopback alone does not protect: any web page can make a browser send requests to 127.0.0.1 (cross-site requests), or
point a name of its own there (DNS rebinding). So every request's Host must be ours, and requests with side effects must
not come from another origin. There is no CORS header, so other sites' pages can read nothing, except for the origins of
--allow-origin. Names of --allow-host are ours with any port: a proxy with TLS stands before them.

With keys (kaiwa up --listen needs a key) everything but /health requires a key: as a bearer token, or from pages as a
cookie set by a visit with ?key=…. The API key opens the protocol and the chat, and so do keys with names (keys.py);
loading, building, training, deleting and the owner's view of labels need the admin key. A labeller's link opens one
queue without a key (web/judging.py checks its token). Keys are compared in constant time, and the cookie holds a
digest of the key, not the key.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
import time
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kaiwa.serve.http.errors import shaped_error
from kaiwa.serve.http.keys import ADMIN_CLIENT, CLIENT, CLIENT_PREFIX, NamedKeys

Refusal = tuple[int, str, str]  # status, message, code

NAMES = ("127.0.0.1", "localhost", "[::1]")
# How a container reaches its host; .internal is reserved, so that no name server outside can point it anywhere.
CONTAINER_NAMES = ("host.docker.internal", "host.containers.internal")
SAFE = ("GET", "HEAD", "OPTIONS")
ADMIN = (
    "/api/",
    "/build/",
    "/demonstrate/begin",
    "/label/batch/",
    "/training/",
    "/v1/files",
    "/v1/fine_tuning",
    "/v1/models",
)  # where whatever is not SAFE is the admin's, but for these:
TRAINING = ("/v1/files", "/v1/fine_tuning")  # also for keys that may train; each sees its own
# Whoever has a labeller's link needs no key for its queue, nor for what its page loads.
LINKS = ("/label/q/", "/demonstrate/q/", "/static/")
OWNERS = ("/label",)  # where reading is the admin's too
USERS = ("/api/chat", "/api/generate", "/api/embed", "/api/embeddings", "/api/show")  # Ollama's
MAX_BODY = 4 << 20  # bytes
MAX_UPLOAD = 512 << 20  # bytes of a file (/v1/files)
BODY_SECONDS, UPLOAD_SECONDS = 30.0, 900.0  # to send a body in
COOKIE_DAYS = 30
# Headers that an allowed origin's page may read.
EXPOSED = b"x-kaiwa-ignored, x-kaiwa-unenforced, x-kaiwa-truncated, retry-after"
PREFLIGHT_SECONDS = 600
ALWAYS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"same-origin"))


class Guard:
    """ASGI middleware that checks Host, Origin, keys (if set), and a body's size and time.

    names: names allowed in Host besides the loopback names. addresses: whether Host may be any IP address (a rebound
    name is never an IP address). public_names: further names, with any port. origins: whose pages may use the server.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        port: int,
        api_key: str = "",
        admin_key: str = "",
        keys: NamedKeys | None = None,
        names: Iterable[str] = (),
        public_names: Iterable[str] = (),
        origins: Iterable[str] = (),
        addresses: bool = False,
        max_body: int = MAX_BODY,
    ) -> None:
        self.app, self.port, self.max_body, self.addresses = app, port, max_body, addresses
        self.api_key, self.admin_key, self.keys = api_key, admin_key or api_key, keys
        self.names = {name.lower() for name in (*NAMES, *CONTAINER_NAMES, *names)}
        self.public_names = {name.lower() for name in public_names}
        self.origins = {origin.lower() for origin in origins}
        self.cookie = f"kaiwa_key_{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no websockets here
            return
        headers = [(name.lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        refusal = self._refuse_stranger(scope, headers)
        cors = self._cors_headers(headers)
        if refusal is None and cors and _is_preflight(scope, headers):
            await _answer(send, 204, b"", cors + _preflight_headers(headers))
            return
        needs_key = bool(self.api_key) or self.keys is not None
        if refusal is None and needs_key and scope["path"] != "/health" and not scope["path"].startswith(LINKS):
            if scope["method"] == "GET" and (login := self._login_headers(scope)) is not None:
                await _answer(send, 303, b"", login)
                return
            refusal = self._refuse_without_key(scope, headers)
        upload = scope["path"] == "/v1/files"
        limit = MAX_UPLOAD if upload else self.max_body
        refusal = refusal or _refuse_long(headers, limit)
        if refusal is not None:
            more = [(b"www-authenticate", b"Bearer")] if refusal[0] == 401 else []
            body = json.dumps(shaped_error(scope["path"], *refusal)).encode()
            await _answer(send, refusal[0], body, [(b"content-type", b"application/json"), *more, *cors])
            return
        seconds = UPLOAD_SECONDS if upload else BODY_SECONDS
        await self.app(scope, _limit_body(receive, limit, seconds), _with_headers(send, cors))

    def _refuse_stranger(self, scope: Scope, headers: list[tuple[bytes, str]]) -> Refusal | None:
        """Return the refusal of a wrong Host or a foreign Origin, or None."""
        hosts = [value.lower() for name, value in headers if name == b"host"]
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            name = _host_name(hosts[0])[:100] if len(hosts) == 1 else "NAME"
            message = f"this server is http://127.0.0.1:{self.port}; to reach it under another name too, start it with "
            return 403, f"{message}--allow-host {name or 'NAME'}", "wrong_host"
        if scope["method"] not in SAFE:
            for origin in (value.lower() for name, value in headers if name == b"origin"):
                if not self._may_send(origin, hosts[0]):
                    message = "requests from other web sites are refused; to allow this one, start the server with "
                    return 403, f"{message}--allow-origin {origin[:100]}", "wrong_origin"
        return None

    def _may_send(self, origin: str, host: str) -> bool:
        """Return whether pages of an origin may send requests with side effects to a Host of ours."""
        scheme, _, name = origin.partition("://")
        is_own = name == host and (scheme == "http" or (scheme == "https" and _host_name(host) in self.public_names))
        return is_own or (scheme == "http" and self._is_loopback(name)) or bool(self.origins & {origin, "*"})

    def _cors_headers(self, headers: list[tuple[bytes, str]]) -> list[tuple[bytes, bytes]]:
        """Return the headers by which a browser lets an allowed origin's page read the response."""
        origins = [value for name, value in headers if name == b"origin"]
        if len(origins) != 1 or not self.origins & {origins[0].lower(), "*"}:
            return []
        allowed = (b"access-control-allow-origin", origins[0].encode("latin-1"))
        return [allowed, (b"vary", b"Origin"), (b"access-control-expose-headers", EXPOSED)]

    def _is_loopback(self, host: str) -> bool:
        return host in {f"{name}:{self.port}" for name in NAMES} or (self.port == 80 and host in NAMES)

    def _is_ours(self, host: str) -> bool:
        name = _host_name(host)
        if name in self.public_names:
            return True
        port = host[len(name) + 1 :] or "80"
        if port != str(self.port):
            return False
        return name in self.names or (self.addresses and _is_address(name))

    def _refuse_without_key(self, scope: Scope, headers: list[tuple[bytes, str]]) -> Refusal | None:
        values = [value for name, value in headers if name == b"authorization"]
        scheme, _, bearer = (values[0] if len(values) == 1 else "").partition(" ")
        bearer = bearer.strip() if scheme.lower() == "bearer" else ""
        bearer = bearer or next((value.strip() for name, value in headers if name == b"x-api-key"), "")  # Anthropic's
        jar: SimpleCookie = SimpleCookie()
        for value in (value for name, value in headers if name == b"cookie"):
            try:
                jar.load(value)
            except CookieError:
                continue
        token = jar[self.cookie].value if self.cookie in jar else ""
        admin = self._opens(self.admin_key, bearer, token)
        user = admin | self._opens(self.api_key, bearer, token)
        name = self._key_name(bearer, token) if not user else ""
        if not user and not name:
            return 401, "the API key is missing or wrong; send it as Authorization: Bearer …", "invalid_api_key"
        scope[CLIENT] = ADMIN_CLIENT if admin else f"{CLIENT_PREFIX}{name}" if name else "the key"
        changes = scope["method"] not in SAFE and scope["path"].startswith(ADMIN) and scope["path"] not in USERS
        if changes and name and scope["path"].startswith(TRAINING) and self.keys is not None and self.keys.trains(name):
            changes = False
        if not admin and (changes or scope["path"].startswith(OWNERS)):
            return 403, "this needs the admin key; the API key is not enough", "admin_key_needed"
        return None

    def _opens(self, key: str, bearer: str, token: str) -> bool:
        """Return whether a bearer token or a cookie is a key's; no key opens nothing."""
        return bool(key) and _is_same(bearer, key) | _is_same(token, digest(key))

    def _key_name(self, bearer: str, token: str) -> str:
        """Return the name of the key of a bearer token or a cookie, "" if there is none."""
        if self.keys is None:
            return ""
        return (self.keys.name_of(bearer) if bearer else "") or (self.keys.name_of_cookie(token) if token else "")

    def _login_headers(self, scope: Scope) -> list[tuple[bytes, bytes]] | None:
        """Return headers to set the cookie and redirect to the same page without its key, for a right ?key=."""
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        sent = next((value for name, value in query if name == "key"), "")
        tokens = [digest(key) for key in (self.admin_key, self.api_key) if _is_same(sent, key)]
        if not tokens and self.keys is not None and sent and (name := self.keys.name_of(sent)):
            tokens = [self.keys.cookie(name)]
        if not tokens:
            return None
        rest = urlencode([(name, value) for name, value in query if name != "key"])
        path = "/" + scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0].lstrip("/\\")
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        attributes = f"Max-Age={COOKIE_DAYS * 86400}; Path=/; HttpOnly; SameSite=Strict{secure}"
        cookie = f"{self.cookie}={tokens[0]}; {attributes}"
        return [
            (b"location", (path + ("?" + rest if rest else "")).encode("latin-1")),
            (b"set-cookie", cookie.encode()),
            (b"cache-control", b"no-store"),
        ]


def _host_name(host: str) -> str:
    """Return a Host without its port."""
    name, colon, port = host.rpartition(":")
    return name if colon and not port.endswith("]") else host


def _is_preflight(scope: Scope, headers: list[tuple[bytes, str]]) -> bool:
    asks = any(name == b"access-control-request-method" for name, _ in headers)
    return bool(scope["method"] == "OPTIONS" and asks)


def _preflight_headers(headers: list[tuple[bytes, str]]) -> list[tuple[bytes, bytes]]:
    """Return the answer to a preflight: all methods, and the headers that were asked for."""
    names = next((value for name, value in headers if name == b"access-control-request-headers"), "authorization")
    return [
        (b"access-control-allow-methods", b"GET, POST, DELETE, HEAD, OPTIONS"),
        (b"access-control-allow-headers", names.encode("latin-1")[:1000]),
        (b"access-control-max-age", str(PREFLIGHT_SECONDS).encode()),
    ]


def digest(key: str) -> str:
    """Return the text stored in a page's cookie instead of the key."""
    return hmac.new(key.encode(), b"kaiwa page cookie", hashlib.sha256).hexdigest()


def _is_same(sent: str, key: str) -> bool:
    return hmac.compare_digest(sent.encode(), key.encode()) and bool(key)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _refuse_long(headers: list[tuple[bytes, str]], limit: int) -> Refusal | None:
    lengths = [value for name, value in headers if name == b"content-length"]
    if any(not (value.isascii() and value.isdigit()) or len(value) > 18 or int(value) > limit for value in lengths):
        return 413, f"the body is too large; at most {limit:,} bytes are read", "body_too_large"
    return None


def _limit_body(receive: Receive, limit: int, seconds: float) -> Receive:
    """Return a `receive` that raises HTTPException once the body has more bytes or takes more seconds than allowed.

    After the body every message is passed on: only the client's disconnection can follow.
    """
    size, whole = 0, False
    deadline = time.monotonic() + seconds

    async def receive_within_limits() -> Message:
        nonlocal size, whole
        if whole:
            return await receive()
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, f"the body did not come within {seconds:.0f} s") from None
        size += len(message.get("body", b""))
        whole = not message.get("more_body", False)
        if size > limit:
            raise HTTPException(413, f"the body is too large; at most {limit:,} bytes are read")
        return message

    return receive_within_limits


def _with_headers(send: Send, more: list[tuple[bytes, bytes]]) -> Send:
    """Return a `send` that adds the headers common to all responses, and more."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            present = {name.lower() for name, _ in headers}
            message = {**message, "headers": headers + [(n, v) for n, v in (*ALWAYS, *more) if n not in present]}
        await send(message)

    return send_with_headers


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length, *ALWAYS]})
    await send({"type": "http.response.body", "body": body})
