"""Ollama's API: /api/{tags,ps,show,chat,generate,embed,embeddings,version} (dialects/ollama.py), and its streams."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError

from kaiwa import __version__
from kaiwa.catalog.entries import Entry
from kaiwa.serve import answers
from kaiwa.serve.answers import AnswerFormat, AnswerStream
from kaiwa.serve.dialects.ollama import (
    OllamaBody,
    OllamaChatRequest,
    OllamaEmbedRequest,
    OllamaGenerateRequest,
    OllamaShowRequest,
    call_json,
    details,
    ending,
    model_json,
    model_name,
    now,
)
from kaiwa.serve.exceptions import APIError
from kaiwa.serve.http.bounded_json import JSONObject
from kaiwa.serve.http.errors import api_error
from kaiwa.serve.http.sse import json_line
from kaiwa.serve.openai.answer_reader import AnswerReader, ContentPiece, ReasoningPiece
from kaiwa.serve.openai.choice import AnswerChoice
from kaiwa.serve.openai.protocol import ChatRequest
from kaiwa.serve.routes.chat import ReadAnswer, answer_reader, chat_requests, read_answer, read_pieces
from kaiwa.serve.routes.completions import completion_requests
from kaiwa.serve.routes.embeddings import EmbeddingRequest, TextVectors, embed_inputs, unit
from kaiwa.serve.services import ServerServices
from kaiwa.serve.worker.wire import Generate, ModelAddress, Started, Tokens

LINES = "application/x-ndjson"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OllamaAnswer:
    """How an answer becomes Ollama's lines. chat: the request that it is read by; None: plain text.

    in_message: the words stand in `message` (/api/chat), not in `response` (/api/generate).
    """

    model: str
    chat: ChatRequest | None
    in_message: bool

    def line(self, content: str, reasoning: str, calls: list[JSONObject]) -> JSONObject:
        head: JSONObject = {"model": self.model, "created_at": now()}
        thinking = {"thinking": reasoning} if reasoning else {}
        if not self.in_message:
            return head | {"response": content} | thinking
        message = {"role": "assistant", "content": content} | thinking | ({"tool_calls": calls} if calls else {})
        return head | {"message": message}

    def reader(self, choice: AnswerChoice) -> AnswerReader | None:
        return None if self.chat is None else answer_reader(self.chat, choice)

    def whole(self, choice: AnswerChoice, seconds: float) -> JSONObject:
        answer = ReadAnswer(choice.text, "", [], choice.finish) if self.chat is None else read_answer(self.chat, choice)
        line = self.line(answer.content or "", answer.reasoning, [call_json(call) for call in answer.calls])
        return line | ending(choice, seconds)

    async def stream(self, events: AnswerStream, started: float) -> AsyncGenerator[str, None]:
        """Yield a line for each piece of text, one for each call once it is whole, and the last line."""
        reader, choice, n_calls = None, AnswerChoice(), 0
        async with contextlib.aclosing(events):
            try:
                async for step in events:
                    choice = step.choice
                    if isinstance(step.reply, Started):
                        reader = self.reader(choice)
                    if not isinstance(step.reply, Tokens):
                        continue
                    for piece in read_pieces(reader, step.reply):
                        if isinstance(piece, ContentPiece):
                            yield _line(self.line(piece.text, "", []) | {"done": False})
                        elif isinstance(piece, ReasoningPiece):
                            yield _line(self.line("", piece.text, []) | {"done": False})
                    for call in reader.calls[n_calls:] if reader is not None else ():
                        if call.complete or choice.finish is not None:
                            n_calls += 1
                            yield _line(self.line("", "", [call_json(call)]) | {"done": False})
            except Exception as exception:
                yield _line({"error": api_error(exception).message})
                return
        yield _line(self.line("", "", []) | ending(choice, time.monotonic() - started))


def _line(value: JSONObject) -> str:
    return json_line(value) + "\n"


def routes(services: ServerServices) -> APIRouter:
    router = APIRouter()
    _add_lists(router, services)

    async def find(name: str) -> Entry:
        return await answers.resolve_writer(services, model_name(name))

    @router.post("/api/chat")
    async def answer_chat(body: OllamaChatRequest, request: Request) -> Response:
        entry = await find(body.model)
        if not body.messages:
            return await load(entry, body, {"message": {"role": "assistant", "content": ""}})
        chat = _valid(body.to_chat)
        return await respond(request, body, chat_requests(chat, entry), OllamaAnswer(body.model, chat, True))

    @router.post("/api/generate")
    async def generate(body: OllamaGenerateRequest, request: Request) -> Response:
        entry = await find(body.model)
        if not body.prompt and not body.suffix:
            return await load(entry, body, {"response": ""})
        if entry.chat and not body.raw and body.suffix is None:
            chat = _valid(body.to_chat)
            return await respond(request, body, chat_requests(chat, entry), OllamaAnswer(body.model, chat, False))
        completion = _valid(body.to_completion)
        requests = completion_requests(completion, entry)
        if completion.max_tokens is None:
            requests = [replace(one, fit="fill") for one in requests]
        return await respond(request, body, requests, OllamaAnswer(body.model, None, False))

    async def respond(request: Request, body: OllamaBody, requests: list[Generate], answer: OllamaAnswer) -> Response:
        started = time.monotonic()
        form = AnswerFormat(
            whole=lambda choices: answer.whole(choices[0], time.monotonic() - started),
            stream=lambda events: answer.stream(events, started),
            media_type=LINES,
        )
        fitting = [replace(one, fit="shorten") if one.fit == "exact" else one for one in requests]
        return await answers.respond(services, request, body, fitting, form, stream=body.streams)

    async def load(entry: Entry, body: OllamaBody, empty: JSONObject) -> Response:
        """Load a model ahead, which is what a request without words means."""
        await services.engine.load(ModelAddress.of(entry))
        line = {"model": body.model, "created_at": now(), **empty, "done": True, "done_reason": "load"}
        return Response(_line(line), media_type=LINES if body.streams else "application/json")

    async def embed_texts(body: OllamaEmbedRequest, request: Request, texts: list[str]) -> TextVectors | None:
        fields = {"model": model_name(body.model), "input": texts, "dimensions": body.dimensions or None}
        converted = EmbeddingRequest.model_validate(fields | {"truncate": body.truncate is not False})
        return await embed_inputs(services, request, converted, texts)

    @router.post("/api/embed")
    async def embed(body: OllamaEmbedRequest, request: Request) -> Response:
        started = time.monotonic()
        texts = await embed_texts(body, request, [body.input] if isinstance(body.input, str) else body.input)
        if texts is None:
            return Response(status_code=499)
        took = int((time.monotonic() - started) * 1e9)
        counts = {"total_duration": took, "load_duration": 0, "prompt_eval_count": texts.n_tokens}
        vectors = [unit(vector) for vector in texts.vectors]  # Ollama's always have length 1
        return JSONResponse({"model": body.model, "embeddings": vectors, **counts}, headers=texts.headers)

    @router.post("/api/embeddings")
    async def embed_prompt(body: OllamaEmbedRequest, request: Request) -> Response:
        texts = await embed_texts(body, request, [body.prompt])
        if texts is None:
            return Response(status_code=499)
        return JSONResponse({"embedding": texts.vectors[0]}, headers=texts.headers)

    return router


def _add_lists(router: APIRouter, services: ServerServices) -> None:
    """Add the routes about models: version, tags, ps, show."""

    @router.get("/api/version")
    async def show_version() -> JSONObject:
        return {"version": __version__}

    @router.get("/api/tags")
    async def list_tags() -> JSONObject:
        entries = await asyncio.to_thread(services.models)
        loaded = services.engine.state.models
        return {"models": [model_json(entry, loaded.get(entry.name, 0)) for entry in entries]}

    @router.get("/api/ps")
    async def list_loaded() -> JSONObject:
        loaded = services.engine.state.models
        entries = [entry for entry in await asyncio.to_thread(services.models) if entry.name in loaded]
        more = {"size_vram": 0, "expires_at": "0001-01-01T00:00:00Z"}
        return {"models": [model_json(entry, loaded[entry.name]) | more for entry in entries]}

    @router.post("/api/show")
    async def show_model(body: OllamaShowRequest) -> JSONObject:
        entry = await answers.resolve(services, model_name(body.model or body.name))
        info = {"general.architecture": entry.kind, "general.parameter_count": entry.parameters}
        capabilities = ["completion", *(["tools"] if entry.chat else [])] if entry.writes else [entry.kind]
        return {"details": details(entry), "model_info": info, "capabilities": capabilities, "modelfile": ""}


def _valid(make: Callable[[], T]) -> T:
    """Return what `make` makes. APIError for a broken bound of the chat API."""
    try:
        return make()
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "messages"
        raise APIError(400, f"{field}: {first['msg']}", "invalid_value", field) from None
