"""POST /v1/messages and /v1/messages/count_tokens: Anthropic's Messages API (dialects/anthropic.py), and its stream."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import ValidationError

from kaiwa.serve import answers
from kaiwa.serve.answers import AnswerFormat, AnswerStream
from kaiwa.serve.dialects.anthropic import (
    MessagesRequest,
    TokenCountRequest,
    content_blocks,
    fresh_message_id,
    message_json,
    stop_json,
    usage_json,
)
from kaiwa.serve.exceptions import APIError
from kaiwa.serve.http.bounded_json import JSONObject
from kaiwa.serve.http.errors import api_error, shaped_error
from kaiwa.serve.http.sse import event
from kaiwa.serve.openai.answer_reader import CallPiece, ContentPiece, Piece, ReasoningPiece
from kaiwa.serve.openai.choice import AnswerChoice
from kaiwa.serve.openai.protocol import ChatRequest
from kaiwa.serve.routes.chat import answer_reader, chat_requests, read_answer, read_pieces
from kaiwa.serve.services import ServerServices
from kaiwa.serve.worker.wire import Started, Tokenize, Tokens

PATH = "/v1/messages"


def routes(services: ServerServices) -> APIRouter:
    router = APIRouter()

    @router.post(PATH)
    async def answer_messages(body: MessagesRequest, request: Request) -> Response:
        entry = await answers.resolve_writer(services, body.model)
        chat, id = _as_chat(body), fresh_message_id()
        requests = [replace(one, fit="shorten") for one in chat_requests(chat, entry)]  # max_tokens is never left out

        def whole(choices: list[AnswerChoice]) -> JSONObject:
            answer = read_answer(chat, choices[0])
            blocks = content_blocks(answer.content, answer.reasoning, answer.calls)
            return message_json(id, entry.name, blocks, answer.finish, choices[0])

        form = AnswerFormat(whole=whole, stream=lambda events: _stream(id, entry.name, chat, events))
        return await answers.respond(services, request, body, requests, form)

    @router.post(f"{PATH}/count_tokens")
    async def count_tokens(body: TokenCountRequest) -> JSONObject:
        entry = await answers.resolve_writer(services, body.model)
        (request,) = chat_requests(_as_chat(body), entry)
        (ids,) = await services.engine.tokenize([Tokenize(model=request.model, prompt=request.prompt)])
        return {"input_tokens": len(ids.tokens)}

    return router


def _as_chat(body: TokenCountRequest) -> ChatRequest:
    """Return the same request as a chat request. APIError for a broken bound of the chat API."""
    try:
        return body.to_chat()
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "messages"
        raise APIError(400, f"{field}: {first['msg']}", "invalid_value", field) from None


class BlockWriter:
    """The writer of a message's blocks: each begins, grows and ends before the next."""

    def __init__(self) -> None:
        self.index, self.kind = -1, ""

    def add(self, piece: Piece) -> Iterator[str]:
        """Yield the events of a piece of the answer."""
        match piece:
            case ContentPiece(text):
                yield from self._begin("text", {"type": "text", "text": ""})
                yield self._delta({"type": "text_delta", "text": text})
            case ReasoningPiece(text):
                yield from self._begin("thinking", {"type": "thinking", "thinking": "", "signature": ""})
                yield self._delta({"type": "thinking_delta", "thinking": text})
            case CallPiece(_, arguments, name, id):
                if name:
                    yield from self.end()
                    yield from self._begin("tool_use", {"type": "tool_use", "id": id, "name": name, "input": {}})
                if arguments:
                    yield self._delta({"type": "input_json_delta", "partial_json": arguments})

    def _begin(self, kind: str, block: JSONObject) -> Iterator[str]:
        if self.kind == kind:
            return
        yield from self.end()
        self.index, self.kind = self.index + 1, kind
        yield _event("content_block_start", index=self.index, content_block=block)

    def _delta(self, delta: JSONObject) -> str:
        return _event("content_block_delta", index=self.index, delta=delta)

    def end(self) -> Iterator[str]:
        """Yield the end of the open block, if any."""
        if self.kind:
            self.kind = ""
            yield _event("content_block_stop", index=self.index)


def _event(kind: str, **fields: object) -> str:
    return event({"type": kind, **fields}, kind)


async def _stream(id: str, model: str, chat: ChatRequest, events: AnswerStream) -> AsyncGenerator[str, None]:
    """Yield message_start, the events of the blocks, message_delta and message_stop; a failure is an error event."""
    writer, reader, choice = BlockWriter(), None, AnswerChoice()
    async with contextlib.aclosing(events):
        try:
            async for step in events:
                choice = step.choice
                if isinstance(step.reply, Started):
                    reader = answer_reader(chat, choice)
                    yield _event("message_start", message=message_json(id, model, [], None, choice))
                    yield _event("ping")
                if isinstance(step.reply, Tokens):
                    for piece in read_pieces(reader, step.reply):
                        for line in writer.add(piece):
                            yield line
        except Exception as exception:
            error = api_error(exception)
            yield event(shaped_error(PATH, error.status, error.message, error.code, error.param), "error")
            return
    for line in writer.end():
        yield line
    finish = choice.finish if reader is None else reader.finish_reason(choice.finish)
    yield _event("message_delta", delta=stop_json(finish or "stop", choice), usage=usage_json(choice))
    yield _event("message_stop")
