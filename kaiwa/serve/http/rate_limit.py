"""A limit on the concurrent answers of each client, so no client takes all places.

A client is a key, or without keys an address. Every request for answers takes a place once its body has arrived, so
that half-sent requests hold none; more places (n, several prompts) are taken once the body is understood; all are given
back when the request ends. A client over its share gets 429 with Retry-After. The pages' answers count in the same way.
The engine's own limit (worker/client.py) applies as well.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kaiwa.serve.exceptions import APIError
from kaiwa.serve.http.errors import error_response
from kaiwa.serve.http.keys import CLIENT

ANSWER_PATHS = (
    *("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/v1/embeddings"),
    *("/api/chat", "/api/generate", "/api/embed", "/api/embeddings"),
)
MOST = 96  # of the engine's 128
SHARE = "kaiwa.share"  # the entry of a request's scope that holds its Share


class AnswerShares:
    """Answers under way of every client. `most`: largest number of concurrent answers per client."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self.under_way: dict[str, int] = {}

    def is_used_up(self, client: str) -> bool:
        return self.under_way.get(client, 0) >= self.most

    def open(self, client: str) -> Share:
        """Take a place for a client's request. APIError (429) where its share is used up."""
        share = Share(self, client)
        share.take(1)
        return share


class Share:
    """The places taken by a request; `close` gives them back."""

    def __init__(self, shares: AnswerShares, client: str) -> None:
        self.shares, self.client, self.answers = shares, client, 0

    def take(self, answers: int) -> None:
        """Take places for so many more answers. APIError: 400 if the share is too small, 429 if too few are free."""
        most, under_way = self.shares.most, self.shares.under_way
        if self.answers + answers > most:
            message = f"{self.answers + answers} answers in one request; you may have {most} under way, "
            raise APIError(400, message + "so ask for fewer", "invalid_value")
        n = under_way.get(self.client, 0)
        if n + answers > most:
            message = f"{n} answers of yours are under way, {most} are the limit; try again in a moment"
            raise APIError(429, message, "too_many_requests")
        self.answers += answers
        under_way[self.client] = n + answers

    def close(self) -> None:
        under_way = self.shares.under_way
        under_way[self.client] = under_way.get(self.client, 0) - self.answers
        self.answers = 0
        if not under_way[self.client]:
            del under_way[self.client]


class ShareLimit:
    """ASGI middleware that opens a share for every request for answers, and closes the share when the request ends."""

    def __init__(self, app: ASGIApp, *, shares: AnswerShares) -> None:
        self.app, self.shares = app, shares

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in ANSWER_PATHS:
            await self.app(scope, receive, send)
            return
        client = client_of(scope)
        try:
            if self.shares.is_used_up(client):
                self.shares.open(client)  # refuses before the body is read
            body = await _read_body(receive)
            if body is None:
                return
            share = self.shares.open(client)
        except (APIError, HTTPException) as error:
            await _refusal(scope["path"], error)(scope, receive, send)
            return
        scope[SHARE] = share
        try:
            await self.app(scope, _replayed(body, receive), send)
        finally:
            share.close()


async def _read_body(receive: Receive) -> bytes | None:
    """Return a request's whole body, None if its client goes away. HTTPException for too large or too slow a body."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that begins with a body that was read already."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return first.pop() if first else await receive()

    return receive_again


def _refusal(path: str, error: APIError | HTTPException) -> Response:
    if isinstance(error, HTTPException):
        return error_response(path, APIError(error.status_code, str(error.detail)))
    return error_response(path, error, {"Retry-After": "2"})


def share_of(request: Request) -> Share | None:
    """Return the share opened by the middleware for a request, if any."""
    share = request.scope.get(SHARE)
    assert share is None or isinstance(share, Share)
    return share


def client_of(scope: Mapping[str, object]) -> str:
    """Return the key recognised by the guard, or without keys the client's address."""
    address = scope.get("client")
    return str(scope.get(CLIENT) or (address[0] if isinstance(address, tuple | list) else ""))
