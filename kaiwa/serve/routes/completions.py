"""POST /v1/completions: plain text, with OpenAI's old shape of log-probabilities (lm-eval scores its tasks by it)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from kaiwa.serve import answers
from kaiwa.serve.answers import Choice, Follow, Head
from kaiwa.serve.http.errors import APIError
from kaiwa.serve.http.sse import event, streaming, until_gone
from kaiwa.serve.openai.protocol import CompletionRequest
from kaiwa.serve.routes.chat import grammar_of
from kaiwa.serve.services import Services

KIND = "text_completion"
MAX_PROMPTS = 64
DEFAULT_TOKENS = 16


def routes(services: Services) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/completions")
    async def complete(body: CompletionRequest, request: Request) -> Response:
        entry = await answers.resolve(services, body.model)
        prompts = body.prompts()
        if not 0 < len(prompts) <= MAX_PROMPTS:
            raise APIError(
                400, f"{len(prompts)} prompts; 1 to {MAX_PROMPTS} go into a request", "invalid_value", "prompt"
            )
        if any(not prompt.get("prompt_ids", True) for prompt in prompts):
            raise APIError(400, "a list of token ids is empty", "invalid_value", "prompt")
        n, best_of = body.n or 1, body.best_of or body.n or 1
        echo, detailed = bool(body.echo), body.logprobs is not None
        if echo and body.stream:
            raise APIError(400, "echo and stream do not go together; leave one out", "invalid_value", "echo")
        if best_of < n:
            raise APIError(400, f"best_of is {best_of}, less than n ({n}); raise it", "invalid_value", "best_of")
        if best_of > n and body.stream:
            raise APIError(400, "best_of and stream do not go together; leave one out", "invalid_value", "best_of")
        if services.shield is not None:
            services.shield.permit(logprobs=detailed, echo=echo)
        details = {"detailed": detailed or echo or best_of > n, "logprobs": body.logprobs or 0, "echo": echo}
        if body.response_format is not None:
            details |= grammar_of(body.response_format)
        limit = DEFAULT_TOKENS if body.max_tokens is None else body.max_tokens
        asked = answers.messages(body, entry, prompts, best_of, limit, details)
        head = Head.make("cmpl", entry.name)
        if body.stream:
            items = await until_gone(request, answers.admitted(services, asked))
            if items is None:
                return Response(status_code=499)
            return streaming(_stream(body, head, items), answers.headers(body))
        choices = await until_gone(request, answers.collect(services, asked))
        if choices is None:
            return Response(status_code=499)
        return JSONResponse(_whole(head, body, choices, best_of), headers=answers.headers(body))

    return router


def _whole(head: Head, body: CompletionRequest, choices: list[Choice], best_of: int) -> dict[str, Any]:
    return head.to_json(KIND) | {
        "choices": [_choice(i, body, choice) for i, choice in enumerate(_best(choices, body.n or 1, best_of))],
        "usage": answers.usage(choices, best_of),
    }


def _best(choices: list[Choice], n: int, best_of: int) -> list[Choice]:
    """Of each prompt's `best_of` answers the n with the highest log-probability a token, best first."""
    if best_of == n:
        return choices
    groups = [choices[i : i + best_of] for i in range(0, len(choices), best_of)]
    return [choice for group in groups for choice in sorted(group, key=lambda c: -c.mean_logprob)[:n]]


def _choice(index: int, body: CompletionRequest, choice: Choice) -> dict[str, Any]:
    before = _text(choice.prompt) if body.echo else ""
    tokens = (choice.prompt if body.echo else []) + choice.tokens
    return {
        "index": index,
        "text": before + choice.text,
        "logprobs": _logprobs(tokens, 0) if body.logprobs is not None else None,
        "finish_reason": choice.finish,
    }


def _text(tokens: list[dict[str, Any]]) -> str:
    return b"".join(bytes(token["bytes"]) for token in tokens).decode("utf-8", errors="replace")


async def _stream(body: CompletionRequest, head: Head, items: Follow) -> AsyncGenerator[str, None]:
    with_usage = body.stream_options is not None and body.stream_options.include_usage
    usage: dict[str, Any] = {"usage": None} if with_usage else {}
    choices: dict[int, Choice] = {}

    def chunk(index: int, text: str, logprobs: dict[str, Any] | None, finish: str | None) -> str:
        choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}
        return event(head.to_json(KIND) | {"choices": [choice]} | usage)

    async with contextlib.aclosing(items):
        async for index, message, choice in items:
            choices[index] = choice
            if message["kind"] == "start":
                continue
            tokens = message["tokens"] if body.logprobs is not None else []
            if message["text"] or tokens:
                offset = len(choice.text) - len(message["text"])
                yield chunk(index, message["text"], _logprobs(tokens, offset) if tokens else None, None)
            if choice.finish is not None:
                yield chunk(index, "", None, choice.finish)
    if with_usage:
        total = answers.usage([choices[i] for i in sorted(choices)], body.n or 1)
        yield event(head.to_json(KIND) | {"choices": [], "usage": total})
    yield "data: [DONE]\n\n"


def _logprobs(tokens: list[dict[str, Any]], offset: int) -> dict[str, Any]:
    """Offsets count characters; a token that ends inside a character begins where that character does."""
    offsets, data = [], b""
    for token in tokens:
        offsets.append(offset + len(data.decode("utf-8", errors="ignore")))
        data += bytes(token["bytes"])
    return {
        "tokens": [token["text"] for token in tokens],
        "token_logprobs": [token["logprob"] for token in tokens],
        "top_logprobs": [_top(token["top"]) for token in tokens],
        "text_offset": offsets,
    }


def _top(top: list[list[Any]]) -> dict[str, float] | None:
    """By text, as the old shape has it; of several tokens with the same text (broken bytes) the likeliest."""
    found: dict[str, float] = {}
    for text, _, logprob in top:
        found.setdefault(text, logprob)
    return found or None
