"""POST /v1/chat/completions."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import Response

from kaiwa.catalog.entries import Entry
from kaiwa.defend.defence import FILTERED
from kaiwa.serve import answers
from kaiwa.serve.answers import AnswerFormat, AnswerStream
from kaiwa.serve.exceptions import APIError
from kaiwa.serve.http.bounded_json import JSONObject
from kaiwa.serve.http.sse import event
from kaiwa.serve.openai.answer_reader import AnswerReader, CallPiece, ContentPiece, ModelCall, Piece, ReasoningPiece
from kaiwa.serve.openai.call_forms import FORCED, FORMS
from kaiwa.serve.openai.choice import AnswerChoice, ResponseHead, TokenAlternative, TokenDetail, usage
from kaiwa.serve.openai.protocol import ChatRequest, ResponseFormat, make_sampling
from kaiwa.serve.openai.tools import NamedTool, ToolDefinition, describe, forced_schema
from kaiwa.serve.services import ServerServices
from kaiwa.serve.worker.wire import ChatPrompt, Generate, ModelAddress, Started, Tokens
from kaiwa.text.sampling import Grammar

CHUNK = "chat.completion.chunk"


def routes(services: ServerServices) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/chat/completions")
    async def answer_chat(body: ChatRequest, request: Request) -> Response:
        entry = await answers.resolve_writer(services, body.model)
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
    tools = body.functions() if body.tool_choice != "none" else []
    prompt = ChatPrompt(
        messages=tuple(message.to_turn() for message in body.messages),
        tools=tuple(describe(tool) for tool in tools),
        variables=({"enable_thinking": False} if has_grammar(body) else {}) | body.template_variables(),
        ending=body.ending(),
        drop_turns=body.truncation == "auto",
    )
    grammar, field = None, ""
    if must_call(body):
        # never refused, `strict` or not
        schema = forced_schema(_callable_tools(body), several=body.parallel_tool_calls is True)
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
        thinking_budget=body.thinking_budget,
        repeatable=body.is_repeatable(scored=bool(body.logprobs)),
    )
    return answers.for_each_choice(request, [prompt], body.n or 1)


def must_call(body: ChatRequest) -> bool:
    """Return whether the answer must be a call of a tool."""
    return body.tool_choice == "required" or isinstance(body.tool_choice, NamedTool)


def has_grammar(body: ChatRequest) -> bool:
    """Return whether a grammar holds for the answer, which then cannot begin with reasoning."""
    return must_call(body) or (body.response_format is not None and body.response_format.type != "text")


def _callable_tools(body: ChatRequest) -> list[ToolDefinition]:
    """Return the tools allowed in a forced call. APIError if there are none."""
    name = body.tool_choice.function.name if isinstance(body.tool_choice, NamedTool) else None
    tools = [tool for tool in body.functions() if name in (None, tool.function.name)]
    if not tools:
        problem = "no such function" if body.functions() else "none"
        message = f"tool_choice asks for {name or 'a tool'}, and tools has {problem}"
        raise APIError(400, message, "invalid_value", "tool_choice")
    return tools


def answer_reader(body: ChatRequest, choice: AnswerChoice) -> AnswerReader | None:
    """Return the reader of an answer's calls and reasoning, or None where the answer is content and nothing else.

    With a grammar the answer has no reasoning: the grammar holds from the first token on.
    """
    tools = body.functions() if body.tool_choice != "none" else []
    markup, must = choice.markup, must_call(body)
    reasoning = None if has_grammar(body) or body.reasoning_format == "none" else markup.reasoning
    if not tools and reasoning is None:
        return None
    return AnswerReader(
        {tool.function.name: tool.function.parameters or {} for tool in tools},
        FORCED if must else FORMS[markup.form],
        parallel=body.parallel_tool_calls is not False,
        reasoning=reasoning,
        thinking=markup.thinking,
    )


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


@dataclass(frozen=True, slots=True)
class ReadAnswer:
    """A finished answer in its parts. content: None if there are calls and no words."""

    content: str | None
    reasoning: str
    calls: list[ModelCall]
    finish: str | None


def read_answer(body: ChatRequest, choice: AnswerChoice) -> ReadAnswer:
    """Return the parts of a finished answer."""
    reader = answer_reader(body, choice)
    if reader is None:
        return ReadAnswer(choice.text, "", [], choice.finish)
    pieces = reader.push(choice.text) + reader.finish()
    if choice.finish == FILTERED and reader.calls and not reader.calls[-1].complete:
        return ReadAnswer(choice.text, "", [], FILTERED)  # the defence's words are no arguments
    content = "".join(piece.text for piece in pieces if isinstance(piece, ContentPiece))
    reasoning = "".join(piece.text for piece in pieces if isinstance(piece, ReasoningPiece))
    return ReadAnswer(
        content or (None if reader.calls else ""), reasoning, reader.calls, reader.finish_reason(choice.finish)
    )


def _response_body(head: ResponseHead, body: ChatRequest, choices: list[AnswerChoice]) -> JSONObject:
    return head.to_json("chat.completion", choices[0].fingerprint) | {
        "choices": [_choice_json(i, body, choice) for i, choice in enumerate(choices)],
        "usage": usage(choices, len(choices)),
    }


def _choice_json(index: int, body: ChatRequest, choice: AnswerChoice) -> JSONObject:
    answer = read_answer(body, choice)
    message: JSONObject = {"role": "assistant", "content": answer.content, "refusal": None}
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.calls:
        message["tool_calls"] = [call.to_json() for call in answer.calls]
    return {
        "index": index,
        "message": message,
        "logprobs": _logprobs(choice.tokens) if body.logprobs else None,
        "finish_reason": answer.finish,
    }


def _delta(piece: Piece) -> JSONObject:
    """Return the delta of a chunk with a piece of an answer."""
    match piece:
        case ContentPiece(text):
            return {"content": text}
        case ReasoningPiece(text):
            return {"reasoning_content": text}
        case CallPiece(index, arguments, name, id):
            function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
            head = {"id": id, "type": "function"} if name else {}
            return {"tool_calls": [{"index": index, **head, "function": function}]}


async def _stream(head: ResponseHead, body: ChatRequest, events: AnswerStream) -> AsyncGenerator[str, None]:
    """Yield a role chunk, a chunk for each piece, an empty chunk with the finish reason, usage if asked for, [DONE]."""
    with_usage = body.stream_options is not None and body.stream_options.include_usage
    no_usage: JSONObject = {"usage": None} if with_usage else {}
    choices: dict[int, AnswerChoice] = {}
    readers: dict[int, AnswerReader | None] = {}

    def chunk(index: int, delta: JSONObject, tokens: Sequence[TokenDetail], finish: str | None) -> str:
        logprobs = _logprobs(tokens) if body.logprobs and tokens else None
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return event(head.to_json(CHUNK, choices[index].fingerprint) | {"choices": [choice]} | no_usage)

    async with contextlib.aclosing(events):
        async for step in events:
            index, reply, choice = step.index, step.reply, step.choice
            choices[index] = choice
            if isinstance(reply, Started):
                readers[index] = answer_reader(body, choice)
                yield chunk(index, {"role": "assistant", "content": ""}, [], None)
            if not isinstance(reply, Tokens):
                continue
            reader, tokens = readers[index], reply.tokens
            for piece in read_pieces(reader, reply):
                yield chunk(index, _delta(piece), tokens, None)
                tokens = ()
            if tokens and body.logprobs:
                yield chunk(index, {"content": ""}, tokens, None)
            if choice.finish is not None:
                finish = choice.finish if reader is None else reader.finish_reason(choice.finish)
                yield chunk(index, {}, [], finish)
    if with_usage:
        total = usage([choices[i] for i in sorted(choices)], len(choices))
        yield event(head.to_json(CHUNK, choices[0].fingerprint) | {"choices": [], "usage": total})
    yield "data: [DONE]\n\n"


def read_pieces(reader: AnswerReader | None, reply: Tokens) -> list[Piece]:
    """Return the pieces that new tokens add to an answer."""
    if reader is None:
        return [ContentPiece(reply.text)] if reply.text else []
    return reader.push(reply.text) + (reader.finish() if reply.finish is not None else [])


def _logprobs(tokens: Sequence[TokenDetail]) -> JSONObject:
    return {"content": logprobs_json(tokens), "refusal": None}


def logprobs_json(tokens: Sequence[TokenDetail]) -> list[JSONObject]:
    """Return tokens with their log-probabilities and alternatives."""

    def token_json(token: TokenDetail | TokenAlternative) -> JSONObject:
        return {"token": token.text, "logprob": token.logprob, "bytes": list(token.data)}

    return [
        token_json(token) | {"top_logprobs": [token_json(alternative) for alternative in token.top]} for token in tokens
    ]
