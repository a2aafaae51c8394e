"""The server under test, and how a check ends: normally (good), with Fault, or with Absent.

A check sends requests and tests the answers. Any other error inside a check (a missing key, a wrong type) is a fault
too.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from kaiwa.core.errors import UserError

MESSAGES = [{"role": "user", "content": "Say something about the sea."}]
PROMPT = "The sea is"
ERROR_FIELDS = {"message", "type", "param", "code"}


class Fault(Exception):
    """The server does not meet the check's expectation."""


class Absent(Exception):
    """The server does not offer the feature at all, and says so."""


def expect(condition: object, message: str) -> None:
    """Raise Fault with the message unless the condition is true."""
    if not condition:
        raise Fault(message)


@dataclass(frozen=True, slots=True)
class StreamedAnswer:
    """A finished stream: its response, and the data of its events in order."""

    response: httpx.Response
    data: list[str]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The data as JSON, without [DONE]."""
        return [json.loads(data) for data in self.data if data != "[DONE]"]

    def text(self, index: int = 0) -> str:
        """Return the text of a choice."""
        pieces = [c for chunk in self.chunks for c in chunk["choices"] if c["index"] == index]
        return "".join((c["delta"].get("content") or "") if "delta" in c else c["text"] for c in pieces)


class ServerUnderTest:
    """A server at a URL with or without /v1. model: the model to ask; empty: the first chat model."""

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
        self.model = model or self._first_chat_model()

    def _first_chat_model(self) -> str:
        try:
            response = self.client.get("/v1/models")
            models = response.json()["data"]
        except httpx.HTTPError as error:
            raise UserError(f"{self.root}: no answer ({type(error).__name__}); is a server there?") from None
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{self.root}: /v1/models gives no list of models; name one with --model") from None
        chats = [m["id"] for m in models if not isinstance(m.get("kaiwa"), dict) or m["kaiwa"].get("chat")]
        if not chats:
            raise UserError(f"{self.root}: /v1/models lists no model that chats; name one with --model")
        return str(chats[0])

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.client.get(path, headers=headers)

    def post(self, path: str, body: object, **headers: str) -> httpx.Response:
        """Send a body: bytes unchanged, anything else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(path, content=content, headers={"Content-Type": "application/json", **headers})

    def request(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send a body with the model's name and return the answer's JSON.

        Fault for any status but 200, Absent where the path does not exist.
        """
        response = self.post(path, {"model": self.model, **body})
        if response.status_code in (404, 405, 501) and _lacks_path(response):
            raise Absent(f"{path} is not there ({response.status_code})")
        expect(response.status_code == 200, f"status {response.status_code}: {_short(response.text)}")
        return dict(response.json())

    def chat(self, **body: Any) -> dict[str, Any]:
        return self.request("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 8, "temperature": 0, **body})

    def complete(self, **body: Any) -> dict[str, Any]:
        return self.request("/v1/completions", {"prompt": PROMPT, "max_tokens": 8, "temperature": 0, **body})

    def stream(self, path: str, body: dict[str, Any]) -> StreamedAnswer:
        """Send a body with stream: true and return the whole stream. Fault and Absent as for `request`."""
        response = self.post(path, {"model": self.model, **body, "stream": True})
        if response.status_code in (404, 405, 501) and _lacks_path(response):
            raise Absent(f"{path} is not there ({response.status_code})")
        expect(response.status_code == 200, f"status {response.status_code}: {_short(response.text)}")
        return StreamedAnswer(response, event_data(response.text))

    def chat_stream(self, **body: Any) -> StreamedAnswer:
        return self.stream("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 8, "temperature": 0, **body})

    def expect_error(self, path: str, body: object, *statuses: int, field: str = "") -> dict[str, Any]:
        """Send a bad request and return its error; see the function of the same name."""
        return expect_error(self.post(path, body), *statuses, field=field)


def expect_error(response: httpx.Response, *statuses: int, field: str = "") -> dict[str, Any]:
    """Return a response's error. Fault unless the status is allowed, the shape is OpenAI's, and the field is named."""
    expect(response.status_code in statuses, f"status {response.status_code}, not {_or(statuses)}")
    try:
        error = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        raise Fault(f"no error object: {_short(response.text)}") from None
    expect(isinstance(error, dict) and set(error) >= ERROR_FIELDS, f"the error lacks a field: {_short(str(error))}")
    expect(isinstance(error["message"], str) and error["message"], "the error has no message")
    words = f"{error['message']} {error['param']}"
    expect(field in words, f"the error does not name {field}: {_short(words)}")
    return dict(error)


def event_data(text: str) -> list[str]:
    """Return the data of server-sent events, with the lines of an event joined."""
    events = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        lines = [line[5:].removeprefix(" ") for line in block.split("\n") if line.startswith("data:")]
        if lines:
            events.append("\n".join(lines))
    return events


def _lacks_path(response: httpx.Response) -> bool:
    """Return whether a 404 is about the path and not about the model."""
    try:
        code = response.json()["error"]["code"]
    except (ValueError, KeyError, TypeError):
        return True
    return bool(code != "model_not_found")


def _short(text: str) -> str:
    return " ".join(text.split())[:120]


def _or(statuses: tuple[int, ...]) -> str:
    return " or ".join(map(str, statuses))


@dataclass(frozen=True, slots=True)
class ServerCheck:
    """A line of the table: its label, and its check function. must: common clients break without the feature."""

    label: str
    run: Callable[[ServerUnderTest], None]
    must: bool = True
