"""POST /v1/chat/completions."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from kaiwa.serve import answering
from kaiwa.serve.answering import Choice, Head
from kaiwa.serve.errors import APIError
from kaiwa.serve.protocol import ChatRequest
from kaiwa.serve.services import Services
from kaiwa.serve.stream import event, streaming, until_gone

CHUNK = "chat.completion.chunk"


def routes(services: Services) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/chat/completions")
    async def chat(body: ChatRequest, request: Request) -> Response:
        entry = await answering.resolve(services, body.model)
        if not entry.chat:
            raise APIError(
                400, f"{entry.name} continues text and has not learnt to chat; use /v1/completions", "not_a_chat_model"
            )
        limit = body.max_completion_tokens or body.max_tokens
        detailed = bool(body.logprobs)
        prompt = [{"messages": [message.plain() for message in body.messages]}]
        details = {"detailed": detailed, "logprobs": body.top_logprobs or 0}
        asked = answering.messages(body, entry, prompt, limit, details)
        head = Head.make("chatcmpl", entry.name)
        if body.stream:
            return streaming(_stream(services, body, head, asked), answering.headers(body))
        choices = await until_gone(request, answering.collect(services, asked))
        if choices is None:
            return Response(status_code=499)
        return JSONResponse(_whole(head, choices, detailed), headers=answering.headers(body))

    return router


def _whole(head: Head, choices: list[Choice], detailed: bool) -> dict[str, Any]:
    return head.to_json("chat.completion") | {
        "choices": [
            {
                "index": i,
                "message": {"role": "assistant", "content": choice.text, "refusal": None},
                "logprobs": _logprobs(choice.tokens) if detailed else None,
                "finish_reason": choice.finish,
            }
            for i, choice in enumerate(choices)
        ],
        "usage": answering.usage(choices, len(choices)),
    }


async def _stream(
    services: Services, body: ChatRequest, head: Head, asked: list[dict[str, Any]]
) -> AsyncGenerator[str, None]:
    """Role chunk, content chunks, an empty chunk with the finish reason, usage if asked for, [DONE]."""
    with_usage = body.stream_options is not None and body.stream_options.include_usage
    usage: dict[str, Any] = {"usage": None} if with_usage else {}
    choices: dict[int, Choice] = {}

    def chunk(index: int, delta: dict[str, Any], tokens: list[dict[str, Any]], finish: str | None) -> str:
        logprobs = _logprobs(tokens) if body.logprobs and tokens else None
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return event(head.to_json(CHUNK) | {"choices": [choice]} | usage)

    async for index, message, choice in answering.follow(services, asked):
        choices[index] = choice
        if message["kind"] == "start":
            yield chunk(index, {"role": "assistant", "content": ""}, [], None)
            continue
        if message["text"] or message["tokens"]:
            yield chunk(index, {"content": message["text"]}, message["tokens"], None)
        if choice.finish is not None:
            yield chunk(index, {}, [], choice.finish)
    if with_usage:
        total = answering.usage([choices[i] for i in sorted(choices)], len(choices))
        yield event(head.to_json(CHUNK) | {"choices": [], "usage": total})
    yield "data: [DONE]\n\n"


def _logprobs(tokens: list[dict[str, Any]]) -> dict[str, Any]:
    def one(text: str, data: list[int], logprob: float) -> dict[str, Any]:
        return {"token": text, "logprob": max(logprob, -9999.0), "bytes": data}

    content = [
        one(t["text"], t["bytes"], t["logprob"]) | {"top_logprobs": [one(*other) for other in t["top"]]} for t in tokens
    ]
    return {"content": content, "refusal": None}
