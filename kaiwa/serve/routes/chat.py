"""POST /v1/chat/completions."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, Sequence

from fastapi import APIRouter, Request
from fastapi.responses import Response

from kaiwa.catalog.entries import Entry
from kaiwa.serve import answers
from kaiwa.serve.answers import AnswerFormat, AnswerStream
from kaiwa.serve.exceptions import APIError
from kaiwa.serve.http.bounded_json import JSONObject
from kaiwa.serve.http.sse import event
from kaiwa.serve.openai.choice import AnswerChoice, ResponseHead, TokenAlternative, TokenDetail, usage
from kaiwa.serve.openai.protocol import ChatRequest, ResponseFormat, make_sampling
from kaiwa.serve.openai.tools import ModelCall, NamedTool, ToolDefinition, ToolReader, describe, forced_schema
from kaiwa.serve.services import ServerServices
from kaiwa.serve.worker.wire import ChatPrompt, Generate, ModelAddress, Started, Tokens
from kaiwa.text.sampling import Grammar

CHUNK = "chat.completion.chunk"


def routes(services: ServerServices) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/chat/completions")
    async def answer_chat(body: ChatRequest, request: Request) -> Response:
        entry = await answers.resolve(services, body.model)
        if services.shield is not None:
            services.shield.permit(logprobs=bool(body.logprobs))
        requests = chat_requests(body, entry)
        head = ResponseHead.make("chatcmpl", entry.name)
        form = AnswerFormat(
            whole=lambda choices: _response_body(head, body, choices),
            stream=lambda events: _stream(head, body, events),
        )
        return await answers.respond(services, request, body, requests, form)

    return router


def chat_requests(body: ChatRequest, entry: Entry) -> list[Generate]:
    """Return an engine request per choice. APIError for contradicting fields."""
    if not entry.chat:
        message = f"{entry.name} continues text and has not learnt to chat; use /v1/completions"
        raise APIError(400, message, "not_a_chat_model", "model")
    tools = body.tools if body.tools and body.tool_choice != "none" else []
    prompt = ChatPrompt(
        messages=tuple(message.to_turn() for message in body.messages), tools=tuple(describe(tool) for tool in tools)
    )
    grammar, field = None, ""
    if must_call(body):
        schema = forced_schema(_callable_tools(body))  # never refused, `strict` or not
        grammar, field = Grammar(kind="json_schema", source=schema, strict=False), "tools"
    elif body.response_format is not None:
        grammar, field = grammar_of(body.response_format), "response_format"
    max_tokens = body.max_completion_tokens or body.max_tokens
    request = Generate(
        model=ModelAddress.of(entry),
        prompt=prompt,
        sampling=make_sampling(body, max_tokens, grammar),
        fit="fill" if max_tokens is None else "exact",
        detailed=bool(body.logprobs),
        logprobs=body.top_logprobs or 0,
        grammar_field=field,
    )
    return answers.for_each_choice(request, [prompt], body.n or 1)


def must_call(body: ChatRequest) -> bool:
    """Return whether the answer must be a call of a tool."""
    return body.tool_choice == "required" or isinstance(body.tool_choice, NamedTool)


def _callable_tools(body: ChatRequest) -> list[ToolDefinition]:
    """Return the tools allowed in a forced call. APIError if there are none."""
    name = body.tool_choice.function.name if isinstance(body.tool_choice, NamedTool) else None
    tools = [tool for tool in body.tools or [] if name in (None, tool.function.name)]
    if not tools:
        problem = "no such function" if body.tools else "none"
        message = f"tool_choice asks for {name or 'a tool'}, and tools has {problem}"
        raise APIError(400, message, "invalid_value", "tool_choice")
    return tools


def call_reader(body: ChatRequest) -> ToolReader | None:
    """Return the reader of calls in an answer, or None where no tools were offered."""
    if not body.tools or body.tool_choice == "none":
        return None
    return ToolReader([tool.function.name for tool in body.tools], must_call(body))


def grammar_of(form: ResponseFormat) -> Grammar | None:
    """Return the grammar of a response format, None for text. A schema is enforced as far as possible, or refused."""
    if form.type == "text":
        return None
    if form.type == "grammar":
        assert form.syntax is not None
        return Grammar(kind=form.syntax, source=form.definition or "")
    if form.type == "json_object":
        return Grammar(kind="json_object")
    assert form.json_schema is not None
    schema = json.dumps(form.json_schema.body, ensure_ascii=False)
    return Grammar(kind="json_schema", source=schema, strict=bool(form.json_schema.strict))


def read_answer(body: ChatRequest, choice: AnswerChoice) -> tuple[str | None, list[ModelCall], str | None]:
    """Return the content, the tool calls and the finish reason of a finished answer."""
    reader = call_reader(body)
    if reader is None:
        return choice.text, [], choice.finish
    content = reader.push(choice.text) + reader.finish()
    if not reader.calls:
        return content, [], choice.finish
    return content.strip() or None, reader.calls, "tool_calls"


def _response_body(head: ResponseHead, body: ChatRequest, choices: list[AnswerChoice]) -> JSONObject:
    return head.to_json("chat.completion") | {
        "choices": [_choice_json(i, body, choice) for i, choice in enumerate(choices)],
        "usage": usage(choices, len(choices)),
    }


def _choice_json(index: int, body: ChatRequest, choice: AnswerChoice) -> JSONObject:
    content, calls, finish = read_answer(body, choice)
    message: JSONObject = {"role": "assistant", "content": content, "refusal": None}
    if calls:
        message["tool_calls"] = [call.to_json() for call in calls]
    return {
        "index": index,
        "message": message,
        "logprobs": _logprobs(choice.tokens) if body.logprobs else None,
        "finish_reason": finish,
    }


async def _stream(head: ResponseHead, body: ChatRequest, events: AnswerStream) -> AsyncGenerator[str, None]:
    """Yield a role chunk, content chunks, an empty chunk with the finish reason, usage if asked for, and [DONE]."""
    with_usage = body.stream_options is not None and body.stream_options.include_usage
    no_usage: JSONObject = {"usage": None} if with_usage else {}
    choices: dict[int, AnswerChoice] = {}
    readers: dict[int, ToolReader | None] = {}
    n_calls: dict[int, int] = {}  # calls of each choice that were sent

    def chunk(index: int, delta: JSONObject, tokens: Sequence[TokenDetail], finish: str | None) -> str:
        logprobs = _logprobs(tokens) if body.logprobs and tokens else None
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return event(head.to_json(CHUNK) | {"choices": [choice]} | no_usage)

    async with contextlib.aclosing(events):
        async for step in events:
            index, reply, choice = step.index, step.reply, step.choice
            choices[index] = choice
            if isinstance(reply, Started):
                readers[index], n_calls[index] = call_reader(body), 0
                yield chunk(index, {"role": "assistant", "content": ""}, [], None)
            if not isinstance(reply, Tokens):
                continue
            text, reader = reply.text, readers[index]
            if reader is not None:
                text = reader.push(text) + (reader.finish() if choice.finish is not None else "")
            if text or (reply.tokens and body.logprobs):
                yield chunk(index, {"content": text}, reply.tokens, None)
            for call in reader.calls[n_calls[index] :] if reader is not None else ():
                yield chunk(index, {"tool_calls": [{"index": n_calls[index], **call.to_json()}]}, [], None)
                n_calls[index] += 1
            if choice.finish is not None:
                yield chunk(index, {}, [], "tool_calls" if n_calls[index] else choice.finish)
    if with_usage:
        total = usage([choices[i] for i in sorted(choices)], len(choices))
        yield event(head.to_json(CHUNK) | {"choices": [], "usage": total})
    yield "data: [DONE]\n\n"


def _logprobs(tokens: Sequence[TokenDetail]) -> JSONObject:
    def token_json(token: TokenDetail | TokenAlternative) -> JSONObject:
        return {"token": token.text, "logprob": token.logprob, "bytes": list(token.data)}

    content = [
        token_json(token) | {"top_logprobs": [token_json(alternative) for alternative in token.top]} for token in tokens
    ]
    return {"content": content, "refusal": None}
