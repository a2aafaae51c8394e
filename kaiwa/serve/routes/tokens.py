"""/tokenize, /detokenize, /tokenizer_info at the root, as vLLM has them: lm-eval and counters of tokens look there."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field, model_validator

from kaiwa.catalog.entries import Entry
from kaiwa.serve import answers
from kaiwa.serve.http.errors import APIError
from kaiwa.serve.openai.protocol import MAX_MESSAGES, Body, ChatMessage, Name
from kaiwa.serve.openai.tools import Tool, describe
from kaiwa.serve.services import Services


class TokenizeRequest(Body):
    """`prompt`, or `messages` through the chat template."""

    model: Name | None = None
    prompt: str | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES)] | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    add_special_tokens: bool | None = None
    return_token_strs: bool | None = None

    @model_validator(mode="after")
    def has_one(self) -> TokenizeRequest:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either prompt or messages")
        return self


class DetokenizeRequest(Body):
    model: Name | None = None
    tokens: Annotated[list[int], Field(max_length=1 << 20)]


def routes(services: Services) -> APIRouter:
    router = APIRouter()

    async def entry_of(name: str | None) -> Entry:
        """The model, or without a name the one in memory or the pages' own."""
        if name is None:
            loaded = list(services.engine.state.models)
            name = loaded[-1] if loaded else services.settings.model
        return await answers.resolve(services, name)

    async def ask(entry: Entry, op: str, details: dict[str, Any]) -> dict[str, Any]:
        (found,) = await services.engine.ask(answers.question(entry, op, **details))
        return dict(found)

    @router.post("/tokenize")
    async def tokenize(body: TokenizeRequest) -> dict[str, Any]:
        entry = await entry_of(body.model)
        if body.messages is not None:
            if not entry.chat:
                raise APIError(400, f"{entry.name} has not learnt to chat; send prompt", "not_a_chat_model", "messages")
            details: dict[str, Any] = {"messages": [message.plain() for message in body.messages]}
            details["tools"] = [describe(tool) for tool in body.tools or []]
        else:
            details = {"prompt": body.prompt, "special": body.add_special_tokens is not False}
        found = await ask(entry, "tokenize", details)
        strings = found.pop("token_strs")
        return found | {"count": len(found["tokens"]), "token_strs": strings if body.return_token_strs else None}

    @router.post("/detokenize")
    async def detokenize(body: DetokenizeRequest) -> dict[str, Any]:
        return await ask(await entry_of(body.model), "detokenize", {"tokens": body.tokens})

    @router.get("/tokenizer_info")
    async def info(model: str | None = None) -> dict[str, Any]:
        return await ask(await entry_of(model), "tokenizer", {})

    return router
