"""POST /v1/responses (responses.py translates), and its stream of events."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError

from kaiwa.defend.defence import FILTERED
from kaiwa.serve import answers
from kaiwa.serve.answers import Choice, Follow, Head
from kaiwa.serve.http.errors import APIError, from_exception
from kaiwa.serve.http.sse import event, streaming, until_gone
from kaiwa.serve.openai.protocol import ChatRequest
from kaiwa.serve.openai.responses import ResponsesRequest, call_item, message_item, part, response_object
from kaiwa.serve.routes.chat import engine_messages, read_answer, reader
from kaiwa.serve.services import Services


def routes(services: Services) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/responses")
    async def respond(body: ResponsesRequest, request: Request) -> Response:
        entry = await answers.resolve(services, body.model)
        chat = _as_chat(body)
        asked = engine_messages(chat, entry)
        head = Head.make("resp", entry.name)
        if body.stream:
            items = await until_gone(request, answers.admitted(services, asked))
            if items is None:
                return Response(status_code=499)
            return streaming(_stream(head, body, chat, items), answers.headers(body))
        choices = await until_gone(request, answers.collect(services, asked))
        if choices is None:
            return Response(status_code=499)
        return JSONResponse(_whole(head, body, chat, choices[0]), headers=answers.headers(body))

    @router.get("/v1/responses/{name}")
    async def stored(name: str) -> Response:
        raise APIError(404, "this server keeps no responses; nothing can be asked for later", "not_found")

    return router


def _as_chat(body: ResponsesRequest) -> ChatRequest:
    """APIError where the chat request that it amounts to is none (a bound that only chat has)."""
    try:
        return body.chat()
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "input"
        field = {"messages": "input", "response_format": "text"}.get(field, field)
        raise APIError(400, f"{field}: {first['msg']}", "invalid_value", field) from None


def _status(choice: Choice) -> str:
    return "incomplete" if choice.finish in ("length", FILTERED) else "completed"


def _whole(head: Head, body: ResponsesRequest, chat: ChatRequest, choice: Choice) -> dict[str, Any]:
    content, calls, _ = read_answer(chat, choice)
    status = _status(choice)
    output = [message_item(content or "", status)] if content or not calls else []
    output += [call_item(call) for call in calls]
    return response_object(head, body, status, output, choice)


class Teller:
    """The events of one response, in order, each with its sequence number."""

    def __init__(self, head: Head, body: ResponsesRequest) -> None:
        self.head, self.body = head, body
        self.number = -1
        self.output: list[dict[str, Any]] = []
        self.message: dict[str, Any] | None = None  # the item that text goes to
        self.text = ""

    def tell(self, kind: str, **details: Any) -> str:
        self.number += 1
        return event({"type": kind, "sequence_number": self.number, **details}, kind)

    def whole(self, kind: str, status: str, choice: Choice | None, **extra: Any) -> str:
        made = response_object(self.head, self.body, status, self.output, choice)
        return self.tell(kind, response=made | extra)

    def add_text(self, text: str) -> Iterator[str]:
        if self.message is None:
            self.message = message_item("", "in_progress")
            self.output.append(self.message)
            place = {"output_index": len(self.output) - 1}
            yield self.tell("response.output_item.added", item=self.message, **place)
            yield self.tell("response.content_part.added", part=part(""), **self._place())
        self.text += text
        yield self.tell("response.output_text.delta", delta=text, logprobs=[], **self._place())

    def end_text(self, status: str) -> Iterator[str]:
        if self.message is None:
            return
        place = self._place()
        index = place["output_index"]
        yield self.tell("response.output_text.done", text=self.text, logprobs=[], **place)
        yield self.tell("response.content_part.done", part=part(self.text), **place)
        self.output[index] = self.message | {"status": status, "content": [part(self.text)]}
        yield self.tell("response.output_item.done", item=self.output[index], output_index=index)
        self.message, self.text = None, ""

    def add_call(self, call: dict[str, Any]) -> Iterator[str]:
        item = call_item(call)
        self.output.append(item)
        index, arguments = len(self.output) - 1, item["arguments"]
        place = {"item_id": item["id"], "output_index": index}
        begun = item | {"status": "in_progress", "arguments": ""}
        yield self.tell("response.output_item.added", item=begun, output_index=index)
        yield self.tell("response.function_call_arguments.delta", delta=arguments, **place)
        yield self.tell("response.function_call_arguments.done", arguments=arguments, name=item["name"], **place)
        yield self.tell("response.output_item.done", item=item, output_index=index)

    def _place(self) -> dict[str, Any]:
        assert self.message is not None
        index = next(i for i, item in enumerate(self.output) if item["id"] == self.message["id"])
        return {"item_id": self.message["id"], "output_index": index, "content_index": 0}


async def _stream(head: Head, body: ResponsesRequest, chat: ChatRequest, items: Follow) -> AsyncGenerator[str, None]:
    teller, found, told, choice = Teller(head, body), reader(chat), 0, None
    yield teller.whole("response.created", "in_progress", None)
    yield teller.whole("response.in_progress", "in_progress", None)
    async with contextlib.aclosing(items):
        try:
            async for _, message, choice in items:
                if message["kind"] == "start":
                    continue
                text = message["text"]
                if found is not None:
                    text = found.push(text) + (found.finish() if choice.finish is not None else "")
                if text and (teller.message is not None or text.strip() or not found):
                    for line in teller.add_text(text):
                        yield line
                for call in found.calls[told:] if found is not None else ():
                    for line in (*teller.end_text("completed"), *teller.add_call(call.to_json())):
                        yield line
                    told += 1
        except Exception as error:
            said = from_exception(error)
            failed = {"error": {"code": said.code or "server_error", "message": said.message}}
            yield teller.whole("response.failed", "failed", None, **failed)
            return
    assert choice is not None
    status = _status(choice)
    if not teller.output:
        for line in teller.add_text(""):
            yield line
    for line in teller.end_text(status):
        yield line
    yield teller.whole(f"response.{status}", status, choice)
