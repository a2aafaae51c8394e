"""A ChatModel behind a URL: any server that speaks OpenAI's protocol, Azure's, Anthropic's or Ollama's (providers.py).

A quota that is spent is not tried again. Retries temporary failures (408, 429, 5xx, a broken connection, half a JSON)
after growing pauses, or as Retry-After says. `generate_many` keeps `concurrency` requests under way and starts at most
`per_minute` a minute.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import httpx

from kaiwa.core.errors import UserError
from kaiwa.text.chat_model import GenerateCall, ModelUnavailable, ScoreCall, ScoreResult
from kaiwa.text.providers import USUAL_WAYS, Provider, build_request, key_headers, read_answer, split_url
from kaiwa.text.records import Completion, Conversation
from kaiwa.text.sampling import USUAL, Sampling

RETRIED = (408, 429, 500, 502, 503, 504, 529)
QUOTA = re.compile(r"insufficient_quota|exceeded your current quota|billing|credit balance|insufficient credits", re.I)


class HTTPChatModel:
    """A ChatModel behind a server's `url`, which ends in /v1. Thread-safe. Call `close` when done."""

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key: str = "",
        timeout: float | None = None,
        retries: int | None = None,
        concurrency: int = 8,
        per_minute: float = 0.0,
        provider: Provider = USUAL_WAYS,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._provider, self._protocol = provider, provider.protocol_of(url)
        address, query = split_url(url)
        self._client = httpx.Client(
            base_url=address,
            params=query,
            headers=key_headers(self._protocol, api_key) | dict(provider.headers),
            timeout=httpx.Timeout(provider.timeout if timeout is None else timeout, connect=10.0),
            transport=transport,
        )
        self._model, self._sleep = model, sleep
        self._retries = provider.retries if retries is None else retries
        self._secret, self._concurrency = api_key, max(1, concurrency)
        self._gap = 60.0 / per_minute if per_minute > 0 else 0.0  # seconds between two starts
        self._next_start, self._turn = 0.0, threading.Lock()

    @property
    def name(self) -> str:
        return self._model

    def close(self) -> None:
        self._client.close()

    def generate(self, prompt: Conversation | str, sampling: Sampling = USUAL) -> Completion:
        """Answer a conversation or continue a text. UserError for a refusal, ConnectionError after the last retry."""
        return self._generate(GenerateCall(prompt=prompt, sampling=sampling))

    def _generate(self, call: GenerateCall) -> Completion:
        path, body = build_request(self._protocol, self._model, call, self._provider)
        answer = self._post(path, body)
        try:
            return read_answer(self._protocol, answer)
        except (KeyError, IndexError, TypeError, AttributeError):
            raise self._without_choices(answer) from None

    def score(self, context: Conversation | str, continuation: str) -> list[float]:
        """Return log-probabilities from a server that answers echo with the prompt's log-probabilities.

        A token across the border is the continuation's. UserError for messages, and for servers that cannot score.
        """
        if self._protocol not in ("openai", "azure"):
            raise UserError(f"{self._client.base_url}: {self._protocol} gives no log-probabilities; answer by text")
        if not isinstance(context, str):
            raise UserError(f"{self._client.base_url}: servers score plain text only, no messages; use form = 'text'")
        body = {"model": self._model, "prompt": context + continuation, "max_tokens": 0, "echo": True, "logprobs": 1}
        answer = self._post("completions", body)
        try:
            scored = answer["choices"][0].get("logprobs") or {}
            logprobs, offsets = scored.get("token_logprobs") or [], scored.get("text_offset") or []
        except (KeyError, IndexError, TypeError, AttributeError):
            raise self._without_choices(answer) from None
        if not logprobs or len(logprobs) != len(offsets):
            raise UserError(f"{self._client.base_url}: no log-probabilities of the prompt; this server cannot score")
        ends = [*offsets[1:], len(context) + len(continuation)]
        return [p for p, end in zip(logprobs, ends, strict=True) if end > len(context) and p is not None]

    def generate_many(self, calls: Sequence[GenerateCall]) -> Iterator[tuple[int, Completion | Exception]]:
        yield from self._side_by_side([lambda call=call: self._generate(call) for call in calls])  # type: ignore[misc]

    def score_many(self, calls: Sequence[ScoreCall]) -> Iterator[tuple[int, ScoreResult | Exception]]:
        """Yield all log-probabilities, several requests side by side."""

        def score(call: ScoreCall) -> ScoreResult:
            return ScoreResult(logprobs=tuple(self.score(call.context, call.continuation)))

        yield from self._side_by_side([lambda call=call: score(call) for call in calls])  # type: ignore[misc]

    def _side_by_side(self, jobs: Sequence[Callable[[], Any]]) -> Iterator[tuple[int, Any]]:
        pool = ThreadPoolExecutor(self._concurrency)
        try:
            waiting = {pool.submit(job): i for i, job in enumerate(jobs)}
            for done in as_completed(waiting):
                error = done.exception()
                if error is not None and not isinstance(error, UserError | ConnectionError):
                    raise error
                yield waiting[done], error if error is not None else done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _without_choices(self, answer: dict[str, Any]) -> ConnectionError:
        return ConnectionError(f"{self._client.base_url}: an answer without choices: {str(answer)[:120]}")

    def _wait_for_turn(self) -> None:
        if not self._gap:
            return
        with self._turn:
            now = time.monotonic()
            pause = max(0.0, self._next_start - now)
            self._next_start = max(now, self._next_start) + self._gap
        if pause:
            self._sleep(pause)

    def _redact(self, text: str) -> str:
        """Remove the key from a server's text: an error message must not bring the key into logs."""
        return text.replace(self._secret, "[key]") if self._secret else text

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        reason = code = ""
        for attempt in range(self._retries + 1):
            pause = min(30.0, 0.5 * 2**attempt)
            self._wait_for_turn()
            try:
                response = self._client.post(path, json=body)
            except httpx.TransportError as error:
                reason = f"{type(error).__name__}: {error}"
                code = "unreachable" if isinstance(error, httpx.ConnectError) else "disconnected"
                code = "timeout" if isinstance(error, httpx.TimeoutException) else code
            else:
                code = str(response.status_code)
                if response.status_code < 400:
                    answer = _object(response)
                    if answer is not None:
                        return answer
                    kind = response.headers.get("content-type", "no content type")
                    reason = f"no JSON object ({kind}): {_line(response.text)}"
                else:
                    reason = self._redact(f"{response.status_code}: {_message(response)}")
                spent = response.status_code >= 400 and _is_quota(response)
                code = "quota" if spent else code
                if response.status_code >= 400 and (spent or response.status_code not in RETRIED):
                    raise UserError(f"{self._client.base_url}: {reason}", code=code)
                pause = _retry_after(response, pause)
            if attempt < self._retries:
                self._sleep(pause)
        raise ModelUnavailable(f"{self._client.base_url}: gave up after {self._retries + 1} attempts ({reason})", code)


def _object(response: httpx.Response) -> dict[str, Any] | None:
    try:
        value = response.json()
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _is_quota(response: httpx.Response) -> bool:
    """Return whether an error says that the account's quota or credit is spent, which waiting does not mend."""
    return response.status_code in (402, 403, 429) and QUOTA.search(response.text[:4000]) is not None


def _message(response: httpx.Response) -> str:
    try:
        error = response.json()["error"]
        return _line(str(error["message"] if isinstance(error, dict) else error))
    except (ValueError, KeyError, TypeError):
        return _line(response.text)


def _line(text: str) -> str:
    return " ".join(text.split())[:160] or "nothing"


def _retry_after(response: httpx.Response, pause: float) -> float:
    try:
        return min(60.0, max(0.0, float(response.headers["Retry-After"])))
    except (KeyError, ValueError):
        return pause
