"""Who may talk to the server."""

import asyncio
from typing import Any

import httpx
import pytest

from kaiwa.serve.http.security import Guard
from tests.running_server import Running


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example", ""])
def test_other_hosts_are_refused(server: Running, host: str) -> None:
    response = httpx.get(f"{server.url}/health", headers={"Host": host})
    assert response.status_code in (400, 403)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
def test_our_names_are_served(server: Running, name: str) -> None:
    assert httpx.get(f"{server.url}/health", headers={"Host": f"{name}:{server.port}"}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1"])
def test_other_sites_change_nothing(server: Running, origin: str) -> None:
    for path in ("/api/jobs", "/v1/chat/completions", "/api/engine/load"):
        response = httpx.post(f"{server.url}{path}", json={}, headers={"Origin": origin})
        assert response.status_code == 403
        assert response.json()["error"]["code"] == "wrong_origin"


def test_our_own_pages_may(server: Running) -> None:
    response = httpx.post(f"{server.url}/api/jobs", json={}, headers={"Origin": server.url})
    assert response.status_code == 400


def answer(guard: Guard, headers: dict[str, str], path: str = "/v1/models") -> int:
    sent: list[Any] = []

    async def run() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            sent.append(message)

        raw = [(k.lower().encode(), v.encode()) for k, v in headers.items()]
        await guard({"type": "http", "method": "GET", "path": path, "headers": raw}, receive, send)

    asyncio.run(run())
    return int(sent[0]["status"]) if sent else 200


def test_an_api_key() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        pass

    guard = Guard(app, port=80, api_key="secret")
    host = {"Host": "localhost"}
    assert answer(guard, host) == 401
    assert answer(guard, host | {"Authorization": "Bearer wrong"}) == 401
    assert answer(guard, host | {"Authorization": "Bearer secret"}) == 200
    assert answer(guard, host, "/health") == 200


@pytest.mark.parametrize(
    ("path", "without", "user", "admin"),
    [
        ("/label/q/token", 200, 200, 200),  # the page itself refuses an unknown token
        ("/demonstrate/q/token", 200, 200, 200),
        ("/static/label.js", 200, 200, 200),
        ("/label", 401, 403, 200),  # the owner's view
        ("/label/batch/first/export", 401, 403, 200),
        ("/arena", 401, 200, 200),
        ("/chat", 401, 200, 200),
        ("/v1/models", 401, 200, 200),
        ("/labels", 401, 403, 200),
        ("/label/qq", 401, 403, 200),
    ],
)
def test_a_labellers_link_opens_its_queue_and_nothing_else(path: str, without: int, user: int, admin: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        pass

    guard = Guard(app, port=80, api_key="the-users-key", admin_key="the-admins-key")
    host = {"Host": "localhost"}
    assert answer(guard, host, path) == without
    assert answer(guard, host | {"Authorization": "Bearer the-users-key"}, path) == user
    assert answer(guard, host | {"Authorization": "Bearer the-admins-key"}, path) == admin
