"""GET /health, GET /v1/models, GET /v1/models/{name}, GET /api/engine, POST /api/engine/load and unload."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from kaiwa import __version__
from kaiwa.catalog.entries import Entry
from kaiwa.serve import answers
from kaiwa.serve.services import Services


class LoadRequest(BaseModel):
    model: str


def routes(services: Services) -> APIRouter:
    router = APIRouter()

    def shown(entry: Entry) -> dict[str, Any]:
        return {
            "id": entry.name,
            "object": "model",
            "created": entry.created,
            "owned_by": "kaiwa",
            "parent": entry.base.name if entry.base is not None else None,  # whose weights it shares
            "kaiwa": entry.to_json() | {"loaded": entry.name in services.engine.state.models},
        }

    @router.get("/health")
    async def health() -> dict[str, Any]:
        shield = services.shield
        about = {"engine": services.engine.state.state, "defence": shield.defence.name if shield else "none"}
        return {"status": "ok", "version": __version__, **about}

    @router.get("/v1/models")
    async def models() -> dict[str, Any]:
        found = await asyncio.to_thread(services.models)
        return {"object": "list", "data": [shown(entry) for entry in found]}

    @router.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        return shown(await answers.resolve(services, name))

    @router.get("/api/engine")
    async def engine() -> dict[str, Any]:
        return services.engine.state.to_json()

    @router.post("/api/engine/load", status_code=202)
    async def load(body: LoadRequest) -> dict[str, Any]:
        entry = await answers.resolve(services, body.model)
        await services.engine.load(entry)
        return {"model": entry.name, "state": "loading" if entry.name not in services.engine.state.models else "loaded"}

    @router.post("/api/engine/unload")
    async def unload(body: LoadRequest) -> dict[str, Any]:
        entry = await answers.resolve(services, body.model)
        size = await services.engine.unload(entry)
        return {"model": entry.name, "state": "unloaded", "bytes": size}

    return router
