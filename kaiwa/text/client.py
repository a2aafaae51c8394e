"""A ChatModel behind a URL: any server that speaks OpenAI's protocol.

Retries what may pass by itself (408, 429, 5xx, a broken connection) after growing pauses, or as Retry-After says.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import httpx

from kaiwa.core.errors import UserError
from kaiwa.text.chat_model import USUAL, Sampling
from kaiwa.text.records import Completion, Conversation

RETRIED = (408, 429, 500, 502, 503, 504)


class HTTPChatModel:
    """`url` ends in /v1. Thread-safe; `close` it when done."""

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key: str = "",
        timeout: float = 120.0,
        retries: int = 4,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.Client(
            base_url=url.rstrip("/") + "/",
            headers=headers,
            timeout=httpx.Timeout(timeout, connect=10.0),
            transport=transport,
        )
        self._model, self._retries, self._sleep = model, retries, sleep

    @property
    def name(self) -> str:
        return self._model

    def close(self) -> None:
        self._client.close()

    def generate(self, prompt: Conversation | str, sampling: Sampling = USUAL) -> Completion:
        body: dict[str, Any] = {"model": self._model, **asdict(sampling)}
        if not sampling.stop:
            del body["stop"]
        if isinstance(prompt, str):
            choice = self._post("completions", body | {"prompt": prompt})["choices"][0]
            text = choice["text"]
        else:
            choice = self._post("chat/completions", body | {"messages": [m.to_json() for m in prompt]})["choices"][0]
            text = choice["message"]["content"] or ""
        return Completion(text=text, finish_reason=choice.get("finish_reason") or "stop")

    def score(self, context: str, continuation: str) -> list[float]:
        """Needs a server that answers echo with the prompt's log-probabilities. A token across the border is the
        continuation's."""
        body = {"model": self._model, "prompt": context + continuation, "max_tokens": 0, "echo": True, "logprobs": 1}
        found = self._post("completions", body)["choices"][0].get("logprobs") or {}
        logprobs, offsets = found.get("token_logprobs") or [], found.get("text_offset") or []
        if not logprobs or len(logprobs) != len(offsets):
            raise UserError(f"{self._client.base_url}: no log-probabilities of the prompt; this server cannot score")
        ends = [*offsets[1:], len(context) + len(continuation)]
        return [p for p, end in zip(logprobs, ends, strict=True) if end > len(context) and p is not None]

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        reason = ""
        for attempt in range(self._retries + 1):
            pause = min(30.0, 0.5 * 2**attempt)
            try:
                response = self._client.post(path, json=body)
            except httpx.TransportError as error:
                reason = f"{type(error).__name__}: {error}"
            else:
                if response.status_code < 400:
                    return dict(response.json())
                reason = f"{response.status_code}: {_message(response)}"
                if response.status_code not in RETRIED:
                    raise UserError(f"{self._client.base_url}: {reason}")
                pause = _retry_after(response, pause)
            if attempt < self._retries:
                self._sleep(pause)
        raise ConnectionError(f"{self._client.base_url}: gave up after {self._retries + 1} attempts ({reason})")


def _message(response: httpx.Response) -> str:
    try:
        error = response.json()["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        return response.text[:200]


def _retry_after(response: httpx.Response, pause: float) -> float:
    try:
        return min(60.0, max(0.0, float(response.headers["Retry-After"])))
    except (KeyError, ValueError):
        return pause
