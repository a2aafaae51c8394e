"""POST /v1/embeddings: mean-pooled hidden states (their limits: engine/embed.py)."""

from __future__ import annotations

import array
import base64
import sys
from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from kaiwa.serve import answers
from kaiwa.serve.exceptions import APIError
from kaiwa.serve.http.sse import unless_disconnected
from kaiwa.serve.openai.protocol import Body, Inputs, Name, listed_inputs
from kaiwa.serve.services import ServerServices
from kaiwa.serve.worker.wire import ModelAddress, TextPrompt, TokenPrompt

MAX_INPUTS = 2048


class EmbeddingRequest(Body):
    model: Name
    input: Inputs
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1, lt=2**31)] | None = None


def routes(services: ServerServices) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/embeddings")
    async def embed(body: EmbeddingRequest, request: Request) -> Response:
        entry = await answers.resolve(services, body.model)
        inputs = listed_inputs(body.input)
        if not 0 < len(inputs) <= MAX_INPUTS or not all(inputs):
            n = f"{len(inputs):,} texts" if len(inputs) != 1 else "an empty text"
            message = f"input: {n}; give 1 to {MAX_INPUTS:,} texts, none of them empty"
            raise APIError(400, message, "invalid_value", "input")
        prompts = [TextPrompt(text) if isinstance(text, str) else TokenPrompt(tuple(text)) for text in inputs]
        work = services.engine.embed(ModelAddress.of(entry), prompts)
        embeddings = await unless_disconnected(request, work)
        if embeddings is None:
            return Response(status_code=499)
        width = len(embeddings[0].vector)
        if body.dimensions not in (None, width):
            message = f"dimensions is {body.dimensions}; {entry.name} gives {width} and they cannot be cut"
            raise APIError(400, message, "invalid_value", "dimensions")
        n_tokens = sum(embedding.tokens for embedding in embeddings)
        rows = [
            {"object": "embedding", "index": i, "embedding": _encode(embedding.vector, body.encoding_format)}
            for i, embedding in enumerate(embeddings)
        ]
        usage = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
        response = {"object": "list", "data": rows, "model": entry.name, "usage": usage}
        return JSONResponse(response, headers=answers.response_headers(body))

    return router


def _encode(vector: Sequence[float], form: str | None) -> list[float] | str:
    """Return the numbers unchanged, or as OpenAI's base64: little-endian float32."""
    if form != "base64":
        return list(vector)
    packed = array.array("f", vector)
    if sys.byteorder == "big":
        packed.byteswap()
    return base64.b64encode(packed.tobytes()).decode()
