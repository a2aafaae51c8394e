"""Errors, streams and bounds of HTTP, without a server."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from typing import Any

import pytest

pytest.importorskip("fastapi")

from kaiwa.core.errors import UserError
from kaiwa.serve.exceptions import APIError, EngineBusy, EngineLost, EngineRefused
from kaiwa.serve.http.errors import api_error, error_body, field_path
from kaiwa.serve.http.rate_limit import client_of
from kaiwa.serve.http.security import CLIENT
from kaiwa.serve.http.sse import PING, event, unless_disconnected, with_heartbeat


@pytest.mark.parametrize(
    ("error", "status", "code", "param"),
    [
        (APIError(409, "m", "running", "run"), 409, "running", "run"),
        (EngineRefused(404, "m", "model_not_found", None), 404, "model_not_found", None),
        (EngineBusy("full"), 429, "queue_full", None),
        (EngineLost("gone"), 503, "engine_restarting", None),
        (UserError("m"), 400, "invalid_value", None),
        (UserError("m", field="stop", code="too_long"), 400, "too_long", "stop"),
        (RuntimeError("a secret"), 500, "internal_error", None),
    ],
)
def test_every_exception_as_an_error(error: Exception, status: int, code: str, param: str | None) -> None:
    found = api_error(error)
    assert (found.status, found.code, found.param) == (status, code, param)


def test_what_went_wrong_inside_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert "secret" not in api_error(RuntimeError("a secret")).message
    assert "a secret" in caplog.text


def test_an_error_body_can_always_be_sent() -> None:
    body: Any = error_body(400, "half \ud800 " + "x" * 5000, "c", "p\udfff")
    json.dumps(body, ensure_ascii=False).encode()
    assert body["error"]["message"].startswith("half ? ")
    assert len(body["error"]["message"]) == 1000
    assert body["error"]["param"] == "p?"
    kinds = {status: error_body(status, "m")["error"]["type"] for status in (400, 401, 403, 404, 429, 500, 503)}  # type: ignore[index]
    assert kinds == {
        400: "invalid_request_error",
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        429: "rate_limit_error",
        500: "server_error",
        503: "server_error",
    }


@pytest.mark.parametrize(
    ("location", "body", "path"),
    [
        (("body", "messages", 0, "content", "str"), {"messages": [{"content": 5}]}, "messages[0].content"),
        (("body", "stop", "constrained-str"), {"stop": {"a": 1}}, "stop"),
        (("body", "messages", 1, "role"), {"messages": [{}, {"role": "x"}]}, "messages[1].role"),
        (("body", "model"), {}, ""),
        (("body", "tool_choice", "NamedTool", "function"), {"tool_choice": {"function": 1}}, "tool_choice.function"),
        (("query", "limit"), None, "limit"),
        ((), {}, ""),
    ],
)
def test_a_field_as_the_client_wrote_it(location: tuple[str | int, ...], body: object, path: str) -> None:
    assert field_path(location, body) == path


def test_a_missing_field_is_named() -> None:
    assert field_path(("body", "model"), {}, is_missing=True) == "model"
    assert field_path(("body", "tools", 0, "function"), {"tools": [{}]}, is_missing=True) == "tools[0].function"


def test_who_a_request_comes_from() -> None:
    assert client_of({CLIENT: "the key", "client": ("10.0.0.1", 5)}) == "the key"
    assert client_of({"client": ("10.0.0.1", 5)}) == "10.0.0.1"
    assert client_of({"client": None}) == ""


# streams


def test_an_event_is_one_line_of_json() -> None:
    assert event({"a": "海\n"}) == 'data: {"a": "海\\n"}\n\n'
    assert event([1], "rows") == "event: rows\ndata: [1]\n\n"


def test_a_silent_stream_sends_comments() -> None:
    async def run() -> list[str]:
        gate = asyncio.Event()

        async def lines() -> AsyncGenerator[str, None]:
            yield "a"
            await gate.wait()
            yield "b"

        found = []
        async for line in with_heartbeat(lines(), 0.01):
            found.append(line)
            if found.count(PING) == 3:
                gate.set()
        return found

    found = asyncio.run(run())
    assert found[0] == "a"
    assert found[-1] == "b"
    assert set(found[1:-1]) == {PING}


def test_a_failure_in_a_stream_is_its_last_event() -> None:
    async def run() -> list[str]:
        async def lines() -> AsyncGenerator[str, None]:
            yield "a"
            raise EngineLost("the engine process ended")

        return [line async for line in with_heartbeat(lines())]

    first, last = asyncio.run(run())
    assert first == "a"
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "engine_restarting"


def test_a_stream_that_is_left_closes_its_source() -> None:
    closed = []

    async def run() -> None:
        async def lines() -> AsyncGenerator[str, None]:
            try:
                while True:
                    yield "a"
                    await asyncio.sleep(0)
            finally:
                closed.append(True)

        stream = with_heartbeat(lines())
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(run())
    assert closed == [True]


class Request:
    def __init__(self, gone: bool) -> None:
        self.gone = gone

    async def is_disconnected(self) -> bool:
        return self.gone


def test_work_ends_when_its_client_goes() -> None:
    cancelled = []

    async def work(seconds: float) -> str:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return "done"

    async def run() -> None:
        assert await unless_disconnected(Request(gone=True), work(0)) == "done"  # type: ignore[arg-type]
        assert await unless_disconnected(Request(gone=True), work(60)) is None  # type: ignore[arg-type]
        with pytest.raises(UserError):
            await unless_disconnected(Request(gone=False), fail())  # type: ignore[arg-type]

    async def fail() -> str:
        raise UserError("bad")

    asyncio.run(run())
    assert cancelled == [True]
