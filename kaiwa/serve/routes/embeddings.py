"""POST /v1/embeddings: mean-pooled hidden states (engine/embed.py says what they are and are not)."""

from __future__ import annotations

import array
import base64
import sys
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from kaiwa.serve import answers
from kaiwa.serve.http.errors import APIError
from kaiwa.serve.http.rate_limit import TAKE
from kaiwa.serve.http.sse import until_gone
from kaiwa.serve.openai.protocol import Body, Name, Strings
from kaiwa.serve.services import Services

MAX_INPUTS = 64


class EmbeddingRequest(Body):
    model: Name
    input: Strings | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1, lt=2**31)] | None = None

    def inputs(self) -> list[dict[str, Any]]:
        value: Any = self.input
        whole = isinstance(value, str) or (value and isinstance(value[0], int))
        return [{"prompt": v} if isinstance(v, str) else {"prompt_ids": v} for v in ([value] if whole else value)]


def routes(services: Services) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/embeddings")
    async def embeddings(body: EmbeddingRequest, request: Request) -> Response:
        entry = await answers.resolve(services, body.model)
        inputs = body.inputs()
        if not 0 < len(inputs) <= MAX_INPUTS or any(one in ({"prompt": ""}, {"prompt_ids": []}) for one in inputs):
            raise APIError(400, f"input: give 1 to {MAX_INPUTS} texts, none of them empty", "invalid_value", "input")
        TAKE.get()(len(inputs) - 1)
        asked = [answers.question(entry, "embed", **one) for one in inputs]
        found = await until_gone(request, services.engine.ask(*asked))
        if found is None:
            return Response(status_code=499)
        width = len(found[0]["embedding"])
        if body.dimensions not in (None, width):
            said = f"dimensions is {body.dimensions}; {entry.name} gives {width} and they cannot be cut"
            raise APIError(400, said, "invalid_value", "dimensions")
        tokens = sum(one["tokens"] for one in found)
        rows = [
            {"object": "embedding", "index": i, "embedding": _written(one["embedding"], body.encoding_format)}
            for i, one in enumerate(found)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        whole = {"object": "list", "data": rows, "model": entry.name, "usage": usage}
        return JSONResponse(whole, headers=answers.headers(body))

    return router


def _written(vector: list[float], form: str | None) -> Any:
    """As numbers, or as OpenAI's base64: little-endian float32."""
    if form != "base64":
        return vector
    packed = array.array("f", vector)
    if sys.byteorder == "big":
        packed.byteswap()
    return base64.b64encode(packed.tobytes()).decode()
