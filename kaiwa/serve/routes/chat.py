"""POST /v1/chat/completions."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from kaiwa.catalog.entries import Entry
from kaiwa.serve import answers
from kaiwa.serve.answers import Choice, Follow, Head
from kaiwa.serve.http.errors import APIError
from kaiwa.serve.http.sse import event, streaming, until_gone
from kaiwa.serve.openai.protocol import ChatRequest, ResponseFormat
from kaiwa.serve.openai.tools import NamedTool, ToolReader, describe, forced_schema
from kaiwa.serve.services import Services

CHUNK = "chat.completion.chunk"


def routes(services: Services) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/chat/completions")
    async def chat(body: ChatRequest, request: Request) -> Response:
        entry = await answers.resolve(services, body.model)
        if services.shield is not None:
            services.shield.permit(logprobs=bool(body.logprobs))
        asked = engine_messages(body, entry)
        head = Head.make("chatcmpl", entry.name)
        if body.stream:
            items = await until_gone(request, answers.admitted(services, asked))
            if items is None:
                return Response(status_code=499)
            return streaming(_stream(body, head, items), answers.headers(body))
        choices = await until_gone(request, answers.collect(services, asked))
        if choices is None:
            return Response(status_code=499)
        return JSONResponse(_whole(head, body, choices), headers=answers.headers(body))

    return router


def engine_messages(body: ChatRequest, entry: Entry) -> list[dict[str, Any]]:
    """One engine message a choice. APIError for what does not go together."""
    if not entry.chat:
        raise APIError(
            400,
            f"{entry.name} continues text and has not learnt to chat; use /v1/completions",
            "not_a_chat_model",
            "model",
        )
    prompt: dict[str, Any] = {"messages": [message.plain() for message in body.messages]}
    details: dict[str, Any] = {"detailed": bool(body.logprobs), "logprobs": body.top_logprobs or 0}
    if body.tools and body.tool_choice != "none":
        prompt["tools"] = [describe(tool) for tool in body.tools]
    if forced(body):
        chosen = body.tool_choice.function.name if isinstance(body.tool_choice, NamedTool) else None
        offered = [tool for tool in body.tools or [] if chosen in (None, tool.function.name)]
        if not offered:
            said = f"tool_choice asks for {chosen or 'a tool'}, and tools has " + (
                "no such function" if body.tools else "none"
            )
            raise APIError(400, said, "invalid_value", "tool_choice")
        details["grammar"] = {"kind": "json_schema", "source": forced_schema(offered)}
        details["grammar_field"] = "tools"
    elif body.response_format is not None:
        details |= grammar_of(body.response_format)
    limit = body.max_completion_tokens or body.max_tokens
    return answers.messages(body, entry, [prompt], body.n or 1, limit, details)


def forced(body: ChatRequest) -> bool:
    return body.tool_choice == "required" or isinstance(body.tool_choice, NamedTool)


def reader(body: ChatRequest) -> ToolReader | None:
    """What finds calls in an answer, where tools were offered."""
    if not body.tools or body.tool_choice == "none":
        return None
    return ToolReader([tool.function.name for tool in body.tools], forced(body))


def grammar_of(wanted: ResponseFormat) -> dict[str, Any]:
    """The engine message's part for a format; a schema is always enforced, `strict` or not."""
    if wanted.type == "text":
        return {}
    if wanted.type == "grammar":
        made = {"kind": wanted.syntax, "source": wanted.definition}
    elif wanted.type == "json_object":
        made = {"kind": "json_object", "source": ""}
    else:
        assert wanted.json_schema is not None
        made = {"kind": "json_schema", "source": json.dumps(wanted.json_schema.body, ensure_ascii=False)}
    return {"grammar": made, "grammar_field": "response_format"}


def read_answer(body: ChatRequest, choice: Choice) -> tuple[str | None, list[dict[str, Any]], str | None]:
    """-> (content, tool calls, finish reason) of a whole answer."""
    found = reader(body)
    if found is None:
        return choice.text, [], choice.finish
    content = found.push(choice.text) + found.finish()
    if not found.calls:
        return content, [], choice.finish
    return content.strip() or None, [call.to_json() for call in found.calls], "tool_calls"


def _whole(head: Head, body: ChatRequest, choices: list[Choice]) -> dict[str, Any]:
    return head.to_json("chat.completion") | {
        "choices": [_choice(i, body, choice) for i, choice in enumerate(choices)],
        "usage": answers.usage(choices, len(choices)),
    }


def _choice(index: int, body: ChatRequest, choice: Choice) -> dict[str, Any]:
    content, calls, finish = read_answer(body, choice)
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    return {
        "index": index,
        "message": message,
        "logprobs": _logprobs(choice.tokens) if body.logprobs else None,
        "finish_reason": finish,
    }


async def _stream(body: ChatRequest, head: Head, items: Follow) -> AsyncGenerator[str, None]:
    """Role chunk, content chunks, an empty chunk with the finish reason, usage if asked for, [DONE]."""
    with_usage = body.stream_options is not None and body.stream_options.include_usage
    usage: dict[str, Any] = {"usage": None} if with_usage else {}
    choices: dict[int, Choice] = {}
    readers: dict[int, ToolReader | None] = {}
    told: dict[int, int] = {}  # calls of each choice that were sent

    def chunk(index: int, delta: dict[str, Any], tokens: list[dict[str, Any]], finish: str | None) -> str:
        logprobs = _logprobs(tokens) if body.logprobs and tokens else None
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return event(head.to_json(CHUNK) | {"choices": [choice]} | usage)

    async with contextlib.aclosing(items):
        async for index, message, choice in items:
            choices[index] = choice
            if message["kind"] == "start":
                readers[index], told[index] = reader(body), 0
                yield chunk(index, {"role": "assistant", "content": ""}, [], None)
                continue
            text, found = message["text"], readers[index]
            if found is not None:
                text = found.push(text) + (found.finish() if choice.finish is not None else "")
            if text or (message["tokens"] and body.logprobs):
                yield chunk(index, {"content": text}, message["tokens"], None)
            for call in found.calls[told[index] :] if found is not None else ():
                yield chunk(index, {"tool_calls": [{"index": told[index], **call.to_json()}]}, [], None)
                told[index] += 1
            if choice.finish is not None:
                yield chunk(index, {}, [], "tool_calls" if told[index] else choice.finish)
    if with_usage:
        total = answers.usage([choices[i] for i in sorted(choices)], len(choices))
        yield event(head.to_json(CHUNK) | {"choices": [], "usage": total})
    yield "data: [DONE]\n\n"


def _logprobs(tokens: list[dict[str, Any]]) -> dict[str, Any]:
    def one(text: str, data: list[int], logprob: float) -> dict[str, Any]:
        return {"token": text, "logprob": logprob, "bytes": data}

    content = [
        one(t["text"], t["bytes"], t["logprob"]) | {"top_logprobs": [one(*other) for other in t["top"]]} for t in tokens
    ]
    return {"content": content, "refusal": None}
