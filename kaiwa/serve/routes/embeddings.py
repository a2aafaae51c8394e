"""POST /v1/embeddings: an embedding model's vectors, or a decoder's mean-pooled states (limits: engine/embed.py)."""

from __future__ import annotations

import array
import base64
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
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
    """OpenAI's fields, and ours: truncate (cut a longer text or refuse it), prompt_name, input_type (wire.Embed)."""

    model: Name
    input: Inputs
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    truncate: bool | None = None
    prompt_name: Name | None = None
    input_type: Name | None = None


@dataclass(frozen=True, slots=True)
class TextVectors:
    """The vectors of a request's texts, the number of tokens, and headers that name the texts that were cut."""

    vectors: list[list[float]]
    n_tokens: int
    headers: dict[str, str]


async def embed_inputs(
    services: ServerServices, request: Request, body: EmbeddingRequest, inputs: Sequence[str | list[int]]
) -> TextVectors | None:
    """Return the vectors of texts or lists of ids; None if the client goes away. APIError for what cannot be done."""
    entry = await answers.resolve(services, body.model)
    if not 0 < len(inputs) <= MAX_INPUTS or not all(inputs):
        n = f"{len(inputs):,} texts" if len(inputs) != 1 else "an empty text"
        message = f"input: {n}; give 1 to {MAX_INPUTS:,} texts, none of them empty"
        raise APIError(400, message, "invalid_value", "input")
    prompts = [TextPrompt(text) if isinstance(text, str) else TokenPrompt(tuple(text)) for text in inputs]
    work = services.engine.embed(
        ModelAddress.of(entry),
        prompts,
        truncate=body.truncate,
        prompt_name=body.prompt_name,
        input_type=body.input_type,
    )
    embeddings = await unless_disconnected(request, work)
    if embeddings is None:
        return None
    width, n_kept = len(embeddings[0].vector), body.dimensions
    if n_kept is not None and (n_kept > width or (n_kept < width and entry.writes)):
        why = "that is all there is" if n_kept > width else "a model that was not trained for it loses too much"
        message = f"dimensions is {n_kept}; {entry.name} gives {width}, and {why}: leave dimensions out"
        raise APIError(400, message, "invalid_value", "dimensions")
    cut = ", ".join(str(i) for i, embedding in enumerate(embeddings) if embedding.cut)
    return TextVectors(
        [list(e.vector) if n_kept in (None, width) else unit(e.vector[:n_kept]) for e in embeddings],
        sum(embedding.tokens for embedding in embeddings),
        answers.response_headers(body) | ({"X-Kaiwa-Truncated": cut[:500]} if cut else {}),
    )


def unit(vector: Sequence[float]) -> list[float]:
    """Return a vector scaled to length 1."""
    length = math.hypot(*vector) or 1.0
    return [x / length for x in vector]


def routes(services: ServerServices) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/embeddings")
    async def embed(body: EmbeddingRequest, request: Request) -> Response:
        texts = await embed_inputs(services, request, body, listed_inputs(body.input))
        if texts is None:
            return Response(status_code=499)
        rows = [
            {"object": "embedding", "index": i, "embedding": _encode(vector, body.encoding_format)}
            for i, vector in enumerate(texts.vectors)
        ]
        usage = {"prompt_tokens": texts.n_tokens, "total_tokens": texts.n_tokens}
        response = {"object": "list", "data": rows, "model": body.model, "usage": usage}
        return JSONResponse(response, headers=texts.headers)

    return router


def _encode(vector: Sequence[float], form: str | None) -> list[float] | str:
    """Return the numbers unchanged, or as OpenAI's base64: little-endian float32."""
    if form != "base64":
        return list(vector)
    packed = array.array("f", vector)
    if sys.byteorder == "big":
        packed.byteswap()
    return base64.b64encode(packed.tobytes()).decode()
