"""From a checked request to engine messages, and what both kinds of answers share."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from kaiwa.catalog.entries import Entry, listed
from kaiwa.core.errors import UserError
from kaiwa.serve.defence import shield
from kaiwa.serve.http.errors import APIError
from kaiwa.serve.http.metrics import Timer
from kaiwa.serve.http.rate_limit import TAKE
from kaiwa.serve.openai.protocol import Body, Sampled, make_sampling
from kaiwa.serve.services import Services

ADMIT_SECONDS = 10.0  # how long a stream waits for the engine's yes before it begins without (a model that loads)
Follow = AsyncGenerator[tuple[int, dict[str, Any], "Choice"], None]


@dataclass(slots=True)
class Choice:
    """What one answer has come to so far."""

    text: str = ""
    tokens: list[dict[str, Any]] = field(default_factory=list)
    prompt: list[dict[str, Any]] = field(default_factory=list)
    n_tokens: int = 0
    prompt_tokens: int = 0
    cached: int = 0
    finish: str | None = None

    def take(self, message: dict[str, Any]) -> None:
        """Adds an engine message; an error in it is raised."""
        if message["kind"] == "error":
            raise APIError(message["status"], message["message"], message["code"], message.get("param"))
        if message["kind"] == "start":
            self.prompt_tokens, self.cached, self.prompt = (
                message["prompt_tokens"],
                message["cached"],
                message["prompt"],
            )
        elif message["kind"] == "tokens":
            self.text += message["text"]
            self.tokens += message["tokens"]
            self.n_tokens += message["n"]
            self.finish = message["finish"]

    @property
    def mean_logprob(self) -> float:
        """What best_of ranks by: log-probability a token."""
        return float(sum(token["logprob"] for token in self.tokens)) / max(1, len(self.tokens))


@dataclass(frozen=True, slots=True)
class Head:
    """What every chunk of one answer repeats."""

    id: str
    created: int
    model: str

    @classmethod
    def make(cls, prefix: str, model: str) -> Head:
        return cls(f"{prefix}-{secrets.token_hex(12)}", int(time.time()), model)

    def to_json(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


async def resolve(services: Services, name: str) -> Entry:
    """The catalog's entry; only names that the catalog lists, never a path that a client sends."""
    known = await asyncio.to_thread(services.models)
    try:
        return listed(name, known)
    except UserError as error:
        raise APIError(404, str(error), "model_not_found", "model") from None


def messages(
    body: Sampled, entry: Entry, prompts: list[dict[str, Any]], n: int, max_tokens: int | None, details: dict[str, Any]
) -> list[dict[str, Any]]:
    """Engine messages: n for each prompt, choice i with seed + i. Without a seed every request has a fresh one."""
    seed = secrets.randbits(62) if body.seed is None else body.seed
    sampling = make_sampling(body, seed)
    shared = {**entry.address(), **sampling.to_json(), "max_tokens": max_tokens, **details}
    return [{**shared, **prompt, "seed": seed + i} for prompt in prompts for i in range(n)]


def question(entry: Entry, op: str, **details: Any) -> dict[str, Any]:
    """An engine message for `EngineClient.ask`."""
    return {"op": op, **entry.address(), **details}


def headers(body: Body) -> dict[str, str]:
    ignored = body.ignored()
    safe = ", ".join(name for name in ignored if name.isascii() and name.replace("_", "").isalnum())
    return {"X-Kaiwa-Ignored": safe[:500]} if safe else {}


async def collect(services: Services, requests: list[dict[str, Any]]) -> list[Choice]:
    """Runs requests to their ends."""
    choices: dict[int, Choice] = {}
    async with contextlib.aclosing(follow(services, requests)) as items:
        async for index, _, choice in items:
            choices[index] = choice
    return [choices[i] for i in range(len(requests))]


async def follow(services: Services, requests: list[dict[str, Any]]) -> Follow:
    """(index, message, the choice so far) as they come. APIError for more answers than the key's share holds."""
    TAKE.get()(len(requests) - 1)
    choices = [Choice() for _ in requests]
    timers = [Timer(services.metrics) for _ in requests]
    async with contextlib.aclosing(shield.generate(services, *requests)) as stream:
        try:
            async for index, message in stream:
                choices[index].take(message)
                timers[index].saw(message)
                yield index, message, choices[index]
        except (asyncio.CancelledError, GeneratorExit):
            services.metrics.cancelled += sum(choice.finish is None for choice in choices)
            raise


async def admitted(services: Services, requests: list[dict[str, Any]], seconds: float = ADMIT_SECONDS) -> Follow:
    """`follow`, once the engine has taken every request: what it refuses is raised here, before a stream begins, and so
    becomes a status. After `seconds` the stream begins without its yes; a refusal is then an event in it."""
    items = follow(services, requests)
    early: list[tuple[int, dict[str, Any], Choice]] = []
    waiting, deadline = len(requests), time.monotonic() + seconds
    pending: asyncio.Task[Any] | None = None
    try:
        while waiting:
            pending = pending or asyncio.ensure_future(anext(items))
            done, _ = await asyncio.wait({pending}, timeout=max(0.0, deadline - time.monotonic()))
            if not done:
                break
            task, pending = pending, None
            early.append(task.result())
            waiting -= early[-1][1]["kind"] == "admitted"
    except BaseException:
        await _end(items, pending)
        raise
    return _rest(items, early, pending)


async def _rest(
    items: Follow, early: list[tuple[int, dict[str, Any], Choice]], pending: asyncio.Task[Any] | None
) -> Follow:
    """What came early, the message that is being waited for, and all that follows; admissions are left out."""
    try:
        for item in early:
            if item[1]["kind"] != "admitted":
                yield item
        while True:
            try:
                item = await (pending or anext(items))
            except StopAsyncIteration:
                return
            pending = None
            if item[1]["kind"] != "admitted":
                yield item
    finally:
        await _end(items, pending)


async def _end(items: Follow, pending: asyncio.Task[Any] | None) -> None:
    if pending is not None:
        pending.cancel()
        with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration, Exception):
            await pending
    await items.aclose()


def usage(choices: list[Choice], n: int) -> dict[str, Any]:
    """Tokens over all choices; a prompt that was asked n times counts once."""
    prompt = sum(choice.prompt_tokens for choice in choices[::n])
    answer = sum(choice.n_tokens for choice in choices)
    cached = sum(choice.cached for choice in choices[::n])
    return {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
