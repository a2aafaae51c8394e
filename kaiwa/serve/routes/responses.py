"""POST /v1/responses (translated to a chat request by openai/responses.py), and its stream of events."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterator, Sequence

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import ValidationError

from kaiwa.defend.defence import FILTERED
from kaiwa.serve import answers
from kaiwa.serve.answers import AnswerFormat, AnswerStream
from kaiwa.serve.exceptions import APIError
from kaiwa.serve.http.bounded_json import JSONObject
from kaiwa.serve.http.errors import api_error
from kaiwa.serve.http.sse import event
from kaiwa.serve.openai.answer_reader import AnswerReader, CallPiece, ContentPiece, ModelCall, Piece, ReasoningPiece
from kaiwa.serve.openai.choice import AnswerChoice, ResponseHead
from kaiwa.serve.openai.protocol import ChatRequest
from kaiwa.serve.openai.responses import (
    ResponsesRequest,
    call_item,
    message_item,
    reasoning_item,
    response_object,
    text_part,
)
from kaiwa.serve.routes.chat import answer_reader, chat_requests, logprobs_json, read_answer, read_pieces
from kaiwa.serve.services import ServerServices
from kaiwa.serve.worker.wire import Started, Tokens


def routes(services: ServerServices) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/responses")
    async def respond(body: ResponsesRequest, request: Request) -> Response:
        entry = await answers.resolve_writer(services, body.model)
        chat = _as_chat(body)
        requests = chat_requests(chat, entry)
        head = ResponseHead.make("resp", entry.name)
        form = AnswerFormat(
            whole=lambda choices: _response_body(head, body, chat, choices[0]),
            stream=lambda events: _stream(head, body, chat, events),
        )
        return await answers.respond(services, request, body, requests, form)

    @router.get("/v1/responses/{name}")
    async def refuse_stored(name: str) -> Response:
        raise APIError(404, "this server keeps no responses; nothing can be asked for later", "not_found")

    return router


def _as_chat(body: ResponsesRequest) -> ChatRequest:
    """Return the same request as a chat request. APIError for a broken bound of the chat API."""
    try:
        return body.to_chat()
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "input"
        field = {"messages": "input", "response_format": "text"}.get(field, field)
        raise APIError(400, f"{field}: {first['msg']}", "invalid_value", field) from None


def _status(choice: AnswerChoice) -> str:
    return "incomplete" if choice.finish in ("length", FILTERED) else "completed"


def _response_body(head: ResponseHead, body: ResponsesRequest, chat: ChatRequest, choice: AnswerChoice) -> JSONObject:
    answer = read_answer(chat, choice)
    status = _status(choice)
    output = [reasoning_item(answer.reasoning, "completed")] if answer.reasoning else []
    logprobs = logprobs_json(choice.tokens)
    output += [message_item(answer.content or "", status, logprobs)] if answer.content or not answer.calls else []
    output += [call_item(call) for call in answer.calls]
    return response_object(head, body, status, output, choice)


class EventWriter:
    """The writer of a response's events in order, each with its sequence number.

    `kind`: the kind of the last item of `output` while pieces are added to it: "message", "reasoning", "call" or "".
    """

    def __init__(self, head: ResponseHead, body: ResponsesRequest) -> None:
        self.head, self.body = head, body
        self.number = -1
        self.output: list[JSONObject] = []
        self.kind, self.text = "", ""
        self.logprobs: list[JSONObject] = []  # of the open message
        self.call: ModelCall | None = None

    def event(self, kind: str, **details: object) -> str:
        self.number += 1
        return event({"type": kind, "sequence_number": self.number, **details}, kind)

    def response_event(self, kind: str, status: str, choice: AnswerChoice | None, **extra: object) -> str:
        """Return an event with the whole current Response."""
        response = response_object(self.head, self.body, status, self.output, choice)
        return self.event(kind, response=response | extra)

    def add(self, piece: Piece, calls: Sequence[ModelCall], logprobs: Sequence[JSONObject] = ()) -> Iterator[str]:
        """Yield the events of a piece of the answer. calls: those of the answer so far. logprobs: of its tokens."""
        match piece:
            case ContentPiece(text):
                yield from self._add_text("message", text, logprobs)
            case ReasoningPiece(text):
                yield from self._add_text("reasoning", text)
            case CallPiece(index, arguments, name):
                if name:
                    yield from self.close("completed")
                    self.call, self.kind = calls[index], "call"
                    item = call_item(self.call) | {"status": "in_progress", "arguments": ""}
                    yield self._open(item)
                if arguments:
                    kind = "response.function_call_arguments.delta"
                    yield self.event(kind, delta=arguments, **self._position())

    def _open(self, item: JSONObject) -> str:
        self.output.append(item)
        return self.event("response.output_item.added", item=item, output_index=len(self.output) - 1)

    def _add_text(self, kind: str, text: str, logprobs: Sequence[JSONObject] = ()) -> Iterator[str]:
        if self.kind != kind:
            yield from self.close("completed")
            self.kind, self.text, self.logprobs = kind, "", []
            item = message_item("", "in_progress") if kind == "message" else reasoning_item("", "in_progress")
            yield self._open(item)
            yield self.event("response.content_part.added", part=self._part(), **self._position(0))
        self.text += text
        self.logprobs += logprobs
        extra: JSONObject = {"logprobs": list(logprobs)} if kind == "message" else {}
        yield self.event(f"response.{self._part()['type']}.delta", delta=text, **extra, **self._position(0))

    def close(self, status: str) -> Iterator[str]:
        """Yield the events that end the open item, if any."""
        if not self.kind:
            return
        if self.kind == "call":
            assert self.call is not None
            item = self.output[-1] | {key: call_item(self.call)[key] for key in ("status", "arguments")}
            details = {"arguments": item["arguments"], "name": item["name"]}
            yield self.event("response.function_call_arguments.done", **details, **self._position())
        else:
            extra: JSONObject = {"logprobs": self.logprobs} if self.kind == "message" else {}
            kind = f"response.{self._part()['type']}.done"
            yield self.event(kind, text=self.text, **extra, **self._position(0))
            yield self.event("response.content_part.done", part=self._part(), **self._position(0))
            item = self.output[-1] | {"status": status, "content": [self._part()]}
        self.output[-1], self.kind = item, ""
        yield self.event("response.output_item.done", item=item, output_index=len(self.output) - 1)

    def _part(self) -> JSONObject:
        return (
            text_part(self.text, self.logprobs)
            if self.kind == "message"
            else {"type": "reasoning_text", "text": self.text}
        )

    def _position(self, content_index: int | None = None) -> JSONObject:
        """Return the fields that identify the open item, or a part of its content."""
        position: JSONObject = {"item_id": self.output[-1]["id"], "output_index": len(self.output) - 1}
        return position if content_index is None else position | {"content_index": content_index}


async def _stream(
    head: ResponseHead, body: ResponsesRequest, chat: ChatRequest, events: AnswerStream
) -> AsyncGenerator[str, None]:
    """Yield the events of a response. A failure on the way becomes response.failed."""
    writer = EventWriter(head, body)
    reader: AnswerReader | None = None
    choice: AnswerChoice | None = None
    logprobs: list[JSONObject] = []
    yield writer.response_event("response.created", "in_progress", None)
    yield writer.response_event("response.in_progress", "in_progress", None)
    async with contextlib.aclosing(events):
        try:
            async for step in events:
                if isinstance(step.reply, Started):
                    reader = answer_reader(chat, step.choice)
                if not isinstance(step.reply, Tokens):
                    continue
                choice = step.choice
                logprobs += logprobs_json(step.reply.tokens)  # with the next piece of the answer's words
                for piece in read_pieces(reader, step.reply):
                    for line in writer.add(piece, reader.calls if reader is not None else (), logprobs):
                        yield line
                    logprobs = []
        except Exception as exception:
            error = api_error(exception)
            fields = {"code": error.code or "server_error", "message": error.message}
            yield writer.response_event("response.failed", "failed", None, error=fields)
            return
    assert choice is not None
    status = _status(choice)
    if not writer.output:
        for line in writer.add(ContentPiece(""), ()):
            yield line
    for line in writer.close(status):
        yield line
    yield writer.response_event(f"response.{status}", status, choice)
