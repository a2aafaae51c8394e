"""POST /v1/responses (translated to a chat request by openai/responses.py), and its stream of events."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterator

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
from kaiwa.serve.openai.choice import AnswerChoice, ResponseHead
from kaiwa.serve.openai.protocol import ChatRequest
from kaiwa.serve.openai.responses import ResponsesRequest, call_item, message_item, response_object, text_part
from kaiwa.serve.openai.tools import ModelCall
from kaiwa.serve.routes.chat import call_reader, chat_requests, read_answer
from kaiwa.serve.services import ServerServices
from kaiwa.serve.worker.wire import Tokens


def routes(services: ServerServices) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/responses")
    async def respond(body: ResponsesRequest, request: Request) -> Response:
        entry = await answers.resolve(services, body.model)
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
    content, calls, _ = read_answer(chat, choice)
    status = _status(choice)
    output = [message_item(content or "", status)] if content or not calls else []
    output += [call_item(call) for call in calls]
    return response_object(head, body, status, output, choice)


class EventWriter:
    """The writer of a response's events in order, each with its sequence number."""

    def __init__(self, head: ResponseHead, body: ResponsesRequest) -> None:
        self.head, self.body = head, body
        self.number = -1
        self.output: list[JSONObject] = []
        self.message: JSONObject | None = None  # the item that text goes to
        self.text = ""

    def event(self, kind: str, **details: object) -> str:
        self.number += 1
        return event({"type": kind, "sequence_number": self.number, **details}, kind)

    def response_event(self, kind: str, status: str, choice: AnswerChoice | None, **extra: object) -> str:
        """Return an event with the whole current Response."""
        response = response_object(self.head, self.body, status, self.output, choice)
        return self.event(kind, response=response | extra)

    def add_text(self, text: str) -> Iterator[str]:
        if self.message is None:
            self.message = message_item("", "in_progress")
            self.output.append(self.message)
            index = len(self.output) - 1
            yield self.event("response.output_item.added", item=self.message, output_index=index)
            yield self.event("response.content_part.added", part=text_part(""), **self._text_position())
        self.text += text
        yield self.event("response.output_text.delta", delta=text, logprobs=[], **self._text_position())

    def end_text(self, status: str) -> Iterator[str]:
        if self.message is None:
            return
        position, index = self._text_position(), self._message_index()
        yield self.event("response.output_text.done", text=self.text, logprobs=[], **position)
        yield self.event("response.content_part.done", part=text_part(self.text), **position)
        self.output[index] = self.message | {"status": status, "content": [text_part(self.text)]}
        yield self.event("response.output_item.done", item=self.output[index], output_index=index)
        self.message, self.text = None, ""

    def add_call(self, call: ModelCall) -> Iterator[str]:
        item = call_item(call)
        self.output.append(item)
        index, arguments = len(self.output) - 1, item["arguments"]
        position: JSONObject = {"item_id": item["id"], "output_index": index}
        new_item = item | {"status": "in_progress", "arguments": ""}
        yield self.event("response.output_item.added", item=new_item, output_index=index)
        yield self.event("response.function_call_arguments.delta", delta=arguments, **position)
        yield self.event("response.function_call_arguments.done", arguments=arguments, name=item["name"], **position)
        yield self.event("response.output_item.done", item=item, output_index=index)

    def _message_index(self) -> int:
        assert self.message is not None
        return next(i for i, item in enumerate(self.output) if item["id"] == self.message["id"])

    def _text_position(self) -> JSONObject:
        """Return the fields that identify the text of an event."""
        assert self.message is not None
        return {"item_id": self.message["id"], "output_index": self._message_index(), "content_index": 0}


async def _stream(
    head: ResponseHead, body: ResponsesRequest, chat: ChatRequest, events: AnswerStream
) -> AsyncGenerator[str, None]:
    """Yield the events of a response. A failure on the way becomes response.failed."""
    writer, reader = EventWriter(head, body), call_reader(chat)
    choice: AnswerChoice | None = None
    n_calls = 0  # calls that were sent
    yield writer.response_event("response.created", "in_progress", None)
    yield writer.response_event("response.in_progress", "in_progress", None)
    async with contextlib.aclosing(events):
        try:
            async for step in events:
                if not isinstance(step.reply, Tokens):
                    continue
                text, choice = step.reply.text, step.choice
                if reader is not None:
                    text = reader.push(text) + (reader.finish() if choice.finish is not None else "")
                if text and (writer.message is not None or text.strip() or not reader):
                    for line in writer.add_text(text):
                        yield line
                for call in reader.calls[n_calls:] if reader is not None else ():
                    for line in (*writer.end_text("completed"), *writer.add_call(call)):
                        yield line
                    n_calls += 1
        except Exception as exception:
            error = api_error(exception)
            fields = {"code": error.code or "server_error", "message": error.message}
            yield writer.response_event("response.failed", "failed", None, error=fields)
            return
    assert choice is not None
    status = _status(choice)
    if not writer.output:
        for line in writer.add_text(""):
            yield line
    for line in writer.end_text(status):
        yield line
    yield writer.response_event(f"response.{status}", status, choice)
