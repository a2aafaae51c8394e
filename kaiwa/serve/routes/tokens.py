"""/tokenize, /detokenize, /tokenizer_info at the root, where vLLM has them and lm-eval looks for them."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, model_validator

from kaiwa.catalog.entries import Entry
from kaiwa.serve import answers
from kaiwa.serve.exceptions import APIError
from kaiwa.serve.http.bounded_json import JSONObject
from kaiwa.serve.openai.protocol import MAX_MESSAGES, Body, ChatMessage, Name
from kaiwa.serve.openai.tools import ToolDefinition, describe
from kaiwa.serve.services import ServerServices
from kaiwa.serve.worker.wire import ChatPrompt, ModelAddress, TextPrompt, Tokenize, TokenizerInfo


class TokenizeRequest(Body):
    """`prompt`, or `messages` through the chat template."""

    model: Name | None = None
    prompt: str | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES)] | None = None
    tools: Annotated[list[ToolDefinition], Field(max_length=128)] | None = None
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


def routes(services: ServerServices) -> APIRouter:
    router = APIRouter()

    async def entry_of(name: str | None) -> Entry:
        """Return the named model, or without a name a loaded model, or else the default model."""
        if name is None:
            loaded = list(services.engine.state.models)
            name = loaded[-1] if loaded else services.settings.model
        return await answers.resolve(services, name)

    @router.post("/tokenize")
    async def tokenize(body: TokenizeRequest) -> JSONObject:
        entry = await entry_of(body.model)
        (ids,) = await services.engine.tokenize([_question(body, entry)])
        return {
            "tokens": ids.tokens,
            "max_model_len": ids.max_model_len,
            "count": len(ids.tokens),
            "token_strs": ids.token_strs if body.return_token_strs else None,
        }

    @router.post("/detokenize")
    async def detokenize(body: DetokenizeRequest) -> JSONObject:
        model = ModelAddress.of(await entry_of(body.model))
        return {"prompt": await services.engine.detokenize(model, body.tokens)}

    @router.get("/tokenizer_info")
    async def describe_tokenizer(model: str | None = None) -> JSONObject:
        info = await services.engine.describe_tokenizer(ModelAddress.of(await entry_of(model)))
        return {field.name: getattr(info, field.name) for field in fields(TokenizerInfo) if field.name != "kind"}

    return router


def _question(body: TokenizeRequest, entry: Entry) -> Tokenize:
    """Return the engine's question. APIError for messages to a model without chat."""
    if body.messages is None:
        prompt = TextPrompt(body.prompt or "")
        return Tokenize(model=ModelAddress.of(entry), prompt=prompt, special=body.add_special_tokens is not False)
    if not entry.chat:
        raise APIError(400, f"{entry.name} has not learnt to chat; send prompt", "not_a_chat_model", "messages")
    turns = tuple(message.to_turn() for message in body.messages)
    chat = ChatPrompt(turns, tuple(describe(tool) for tool in body.tools or []))
    return Tokenize(model=ModelAddress.of(entry), prompt=chat)
