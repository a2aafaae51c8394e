"""Behind a proxy, under other names, and for pages of other sites: only what the operator has named."""

import asyncio
import json
import socket
from typing import Any

import httpx
import pytest

from kaiwa.serve.http.rate_limit import AnswerShares, ShareLimit
from kaiwa.serve.http.root_path import RootPath
from kaiwa.serve.http.security import Guard
from tests.running_server import Running

APP = "https://app.example.org"
KEY = "a-key-of-more-than-sixteen"


async def ok(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-path", scope["path"].encode())]})
    await send({"type": "http.response.body", "body": b"{}"})


def client(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:7860")


def ask(app: Any, method: str = "GET", path: str = "/v1/models", **headers: str) -> httpx.Response:
    async def send() -> httpx.Response:
        async with client(app) as one:
            return await one.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return asyncio.run(send())


def test_a_public_name_is_ours_on_any_port() -> None:
    guard = Guard(ok, port=7860, public_names=("Chat.example.org",))
    for host in ("chat.example.org", "CHAT.example.org:8443", "host.docker.internal:7860", "127.0.0.1:7860"):
        assert ask(guard, host=host).status_code == 200, host
    for host in ("chat.example.org.evil.example", "evil.example:7860", "host.docker.internal:1"):
        assert ask(guard, host=host).status_code == 403, host


def test_a_refusal_names_the_flag() -> None:
    guard = Guard(ok, port=7860)
    error = ask(guard, host="chat.example.org:443").json()["error"]
    assert error["code"] == "wrong_host"
    assert "--allow-host chat.example.org" in error["message"]
    error = ask(guard, "POST", origin=APP).json()["error"]
    assert error["code"] == "wrong_origin"
    assert f"--allow-origin {APP}" in error["message"]


def test_own_pages_behind_tls() -> None:
    guard = Guard(ok, port=7860, public_names=("chat.example.org",))
    for origin, status in (("https://chat.example.org", 200), ("http://chat.example.org", 200), ("https://b.org", 403)):
        assert ask(guard, "POST", host="chat.example.org", origin=origin).status_code == status
    assert ask(guard, "POST", origin="https://127.0.0.1:7860").status_code == 403, "no TLS was named for this one"


def test_an_allowed_origins_pages_may_send_and_read() -> None:
    guard = Guard(ok, port=7860, api_key=KEY, origins=(APP,))
    asked = {"access_control_request_method": "POST", "access_control_request_headers": "authorization,content-type"}
    preflight = ask(guard, "OPTIONS", origin=APP, **asked)
    assert preflight.status_code == 204, "before any key: a browser sends none here"
    assert preflight.headers["access-control-allow-origin"] == APP
    assert preflight.headers["access-control-allow-headers"] == "authorization,content-type"
    assert "POST" in preflight.headers["access-control-allow-methods"]
    answer = ask(guard, "POST", origin=APP, authorization=f"Bearer {KEY}")
    assert answer.status_code == 200
    assert (answer.headers["access-control-allow-origin"], answer.headers["vary"]) == (APP, "Origin")
    refused = ask(guard, "POST", origin=APP)
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == APP, "so that the page can read why"
    other = ask(guard, "OPTIONS", origin="https://evil.example", **asked)
    assert "access-control-allow-origin" not in other.headers
    assert "access-control-allow-credentials" not in answer.headers, "cookies are for our own pages"
    anybody = Guard(ok, port=7860, api_key=KEY, origins=("*",))
    assert ask(anybody, "POST", origin="https://b.org", authorization=f"Bearer {KEY}").status_code == 200


def test_a_path_of_the_proxy_is_taken_off() -> None:
    """Also where the proxy has done so already; what needs the admin key is told by our own path."""
    for path, inner in (
        ("/kaiwa/v1/models", "/v1/models"),
        ("/kaiwa", "/"),
        ("/v1/models", "/v1/models"),
        ("/kaiwas", "/kaiwas"),
    ):
        assert ask(RootPath(ok, root_path="/kaiwa"), path=path).headers["x-path"] == inner
    guarded = RootPath(Guard(ok, port=7860, api_key=KEY, admin_key=KEY + "2"), root_path="/kaiwa")
    answer = ask(guarded, "POST", "/kaiwa/api/engine/load", authorization=f"Bearer {KEY}")
    assert answer.json()["error"]["code"] == "admin_key_needed"


def test_half_sent_requests_hold_no_place(server: Running) -> None:
    """100 of them took all places of everybody on the same machine for 30 seconds."""
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
    connections = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
    try:
        for connection in connections:
            connection.sendall(head.encode() + b"Content-Length: 500\r\n\r\n{")
        body = {"model": "toy/ppo", "messages": [{"role": "user", "content": "x"}], "max_tokens": 2}
        answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=20)
        assert answer.status_code == 200
        server.wait(lambda: server.services.shares.under_way == {})
    finally:
        for connection in connections:
            connection.close()


def test_a_full_share_is_refused_before_the_body_is_read() -> None:
    shares = AnswerShares(1)
    first = shares.open("127.0.0.1")
    reads = 0

    async def receive() -> dict[str, Any]:
        nonlocal reads
        reads += 1
        return {"type": "http.request", "body": b"{}", "more_body": False}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/completions", "client": ("127.0.0.1", 1), "headers": []}
    asyncio.run(ShareLimit(ok, shares=shares)(scope, receive, send))
    assert (sent[0]["status"], reads) == (429, 0)
    first.close()
    sent.clear()
    asyncio.run(ShareLimit(ok, shares=shares)(dict(scope), receive, send))
    assert (sent[0]["status"], reads, shares.under_way) == (200, 1, {})


def test_a_body_that_never_comes_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kaiwa.serve.http.security.BODY_SECONDS", 0.05)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(10)
        raise AssertionError

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    guard = Guard(ShareLimit(ok, shares=AnswerShares(1)), port=80)
    scope = {"type": "http", "method": "POST", "path": "/v1/completions", "headers": [(b"host", b"localhost")]}
    asyncio.run(guard(scope, receive, send))
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["error"]["message"]
