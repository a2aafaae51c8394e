"""From a checked request to engine messages, and what both kinds of answers share."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.engine.catalog import Entry, listed
from kaiwa.serve.errors import APIError
from kaiwa.serve.protocol import Sampled
from kaiwa.serve.services import Services


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
            raise APIError(message["status"], message["message"], message["code"], _param(message["code"]))
        if message["kind"] == "start":
            self.prompt_tokens, self.cached, self.prompt = (
                message["prompt_tokens"],
                message["cached"],
                message["prompt"],
            )
        else:
            self.text += message["text"]
            self.tokens += message["tokens"]
            self.n_tokens += message["n"]
            self.finish = message["finish"]


def _param(code: str | None) -> str | None:
    return {"model_not_found": "model", "context_length_exceeded": "messages"}.get(code or "")


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
    body: Sampled, entry: Entry, prompts: list[dict[str, Any]], max_tokens: int | None, details: dict[str, Any]
) -> list[dict[str, Any]]:
    """Engine messages: n for each prompt, choice i with seed + i. Without a seed every request has a fresh one."""
    seed = secrets.randbits(62) if body.seed is None else body.seed
    n = body.n or 1
    shared = {
        "model": entry.name,
        "path": str(entry.path),
        "created": entry.created,
        "max_tokens": max_tokens,
        "temperature": 1.0 if body.temperature is None else body.temperature,
        "top_p": 1.0 if body.top_p is None else body.top_p,
        "top_k": body.top_k or 0,
        "stop": body.stops(),
        **details,
    }
    return [{**shared, **prompt, "seed": seed + i} for prompt in prompts for i in range(n)]


def headers(body: Sampled) -> dict[str, str]:
    ignored = body.ignored()
    safe = ", ".join(name for name in ignored if name.isascii() and name.replace("_", "").isalnum())
    return {"X-Kaiwa-Ignored": safe[:500]} if safe else {}


async def collect(services: Services, requests: list[dict[str, Any]]) -> list[Choice]:
    """Runs requests to their ends."""
    choices = [Choice() for _ in requests]
    stream = services.engine.generate(*requests)
    try:
        async for index, message in stream:
            choices[index].take(message)
    finally:
        await stream.aclose()  # type: ignore[attr-defined]
    return choices


async def follow(
    services: Services, requests: list[dict[str, Any]]
) -> AsyncIterator[tuple[int, dict[str, Any], Choice]]:
    """(index, message, the choice so far) as they come."""
    choices = [Choice() for _ in requests]
    stream = services.engine.generate(*requests)
    try:
        async for index, message in stream:
            choices[index].take(message)
            yield index, message, choices[index]
    finally:
        await stream.aclose()  # type: ignore[attr-defined]


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
    }
