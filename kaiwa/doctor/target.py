"""The server under examination, and what a check may say: nothing (good), Fault, or Absent.

A check is a function of a Target whose docstring is its line in the table. It asks and expects; whatever else goes
wrong in it (a missing key, a wrong type) is a fault too.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from kaiwa.core.errors import UserError

Check = Callable[["Target"], None]
MESSAGES = [{"role": "user", "content": "Say something about the sea."}]
PROMPT = "The sea is"
SHAPE = {"message", "type", "param", "code"}


class Fault(Exception):
    """The server does not keep to what the check expects."""


class Absent(Exception):
    """The server does not offer this at all, and says so."""


def expect(condition: object, said: str) -> None:
    if not condition:
        raise Fault(said)


@dataclass(frozen=True, slots=True)
class Told:
    """A stream: its response, the data of its events in order, and these as JSON without [DONE]."""

    response: httpx.Response
    data: list[str]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        return [json.loads(data) for data in self.data if data != "[DONE]"]

    def text(self, index: int = 0) -> str:
        found = [c for chunk in self.chunks for c in chunk["choices"] if c["index"] == index]
        return "".join((c["delta"].get("content") or "") if "delta" in c else c["text"] for c in found)


class Target:
    """`url` with or without /v1. `model`: the one to ask; empty: the first that chats."""

    def __init__(
        self,
        url: str,
        *,
        model: str = "",
        key: str = "",
        timeout: float = 120.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.root = url.rstrip("/").removesuffix("/v1").rstrip("/")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.client = httpx.Client(base_url=self.root, headers=headers, timeout=timeout, transport=transport)
        self.model = model or self._first()

    def _first(self) -> str:
        try:
            response = self.client.get("/v1/models")
            found = response.json()["data"]
        except httpx.HTTPError as error:
            raise UserError(f"{self.root}: no answer ({type(error).__name__}); is a server there?") from None
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{self.root}: /v1/models gives no list of models; name one with --model") from None
        chats = [m["id"] for m in found if not isinstance(m.get("kaiwa"), dict) or m["kaiwa"].get("chat")]
        if not chats:
            raise UserError(f"{self.root}: /v1/models lists no model that chats; name one with --model")
        return str(chats[0])

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.client.get(path, headers=headers)

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        """`body` as JSON, or bytes as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(path, content=content, headers={"Content-Type": "application/json", **headers})

    def asked(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer's JSON; a Fault for any status but 200, Absent where the path is not there."""
        response = self.post(path, {"model": self.model, **body})
        if response.status_code in (404, 405, 501) and _no_path(response):
            raise Absent(f"{path} is not there ({response.status_code})")
        expect(response.status_code == 200, f"status {response.status_code}: {_short(response.text)}")
        return dict(response.json())

    def chat(self, **body: Any) -> dict[str, Any]:
        return self.asked("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 8, "temperature": 0, **body})

    def complete(self, **body: Any) -> dict[str, Any]:
        return self.asked("/v1/completions", {"prompt": PROMPT, "max_tokens": 8, "temperature": 0, **body})

    def stream(self, path: str, body: dict[str, Any]) -> Told:
        """A whole stream."""
        response = self.post(path, {"model": self.model, **body, "stream": True})
        if response.status_code in (404, 405, 501) and _no_path(response):
            raise Absent(f"{path} is not there ({response.status_code})")
        expect(response.status_code == 200, f"status {response.status_code}: {_short(response.text)}")
        return Told(response, event_data(response.text))

    def chat_stream(self, **body: Any) -> Told:
        whole = {"messages": MESSAGES, "max_tokens": 8, "temperature": 0, **body}
        return self.stream("/v1/chat/completions", whole)

    def refused(self, path: str, body: Any, *statuses: int, field: str = "") -> dict[str, Any]:
        """The error of a bad request: one of these statuses, OpenAI's shape, and the field named in it."""
        response = self.post(path, body)
        return refusal(response, *statuses, field=field)


def refusal(response: httpx.Response, *statuses: int, field: str = "") -> dict[str, Any]:
    expect(response.status_code in statuses, f"status {response.status_code}, not {_or(statuses)}")
    try:
        error = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        raise Fault(f"no error object: {_short(response.text)}") from None
    expect(isinstance(error, dict) and set(error) >= SHAPE, f"the error lacks a field: {_short(str(error))}")
    expect(isinstance(error["message"], str) and error["message"], "the error has no message")
    named = f"{error['message']} {error['param']}"
    expect(field in named, f"the error does not name {field}: {_short(named)}")
    return dict(error)


def event_data(text: str) -> list[str]:
    """The data of server-sent events, several lines of one event joined."""
    found = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        lines = [line[5:].removeprefix(" ") for line in block.split("\n") if line.startswith("data:")]
        if lines:
            found.append("\n".join(lines))
    return found


def _no_path(response: httpx.Response) -> bool:
    """Whether a 404 speaks of the path and not of the model."""
    try:
        code = response.json()["error"]["code"]
    except (ValueError, KeyError, TypeError):
        return True
    return bool(code != "model_not_found")


def _short(text: str) -> str:
    return " ".join(text.split())[:120]


def _or(statuses: tuple[int, ...]) -> str:
    return " or ".join(map(str, statuses))
