"""GET /health, GET /v1/models, GET /v1/models/{name}, GET /api/engine, POST /api/engine/load and unload."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from pydantic import BaseModel

from kaiwa import __version__
from kaiwa.catalog.entries import Entry, usable
from kaiwa.serve import answers
from kaiwa.serve.http.bounded_json import JSONObject
from kaiwa.serve.services import ServerServices
from kaiwa.serve.worker.wire import ModelAddress


class LoadRequest(BaseModel):
    model: str


def routes(services: ServerServices) -> APIRouter:
    router = APIRouter()

    def model_json(entry: Entry) -> JSONObject:
        return {
            "id": entry.name,
            "object": "model",
            "created": entry.created,
            "owned_by": "kaiwa",
            "parent": entry.base.name if entry.base is not None else None,  # whose weights it shares
            "kaiwa": entry.to_json() | {"loaded": entry.name in services.engine.state.models},
        }

    @router.get("/health")
    async def show_health() -> JSONObject:
        shield = services.shield
        about = {"engine": services.engine.state.state, "defence": shield.defence.name if shield else "none"}
        return {"status": "ok", "version": __version__, **about}

    @router.get("/v1/models/", include_in_schema=False)  # clients that join addresses by a slash
    @router.get("/v1/models")
    async def list_models() -> JSONObject:
        entries = await asyncio.to_thread(services.models)
        return {"object": "list", "data": [model_json(entry) for entry in usable(entries)]}

    @router.get("/v1/models/{name:path}")
    async def show_model(name: str) -> JSONObject:
        return model_json(await answers.resolve(services, name))

    @router.get("/api/engine")
    async def show_engine() -> JSONObject:
        return services.engine.state.to_json()

    @router.post("/api/engine/load", status_code=202)
    async def load_model(body: LoadRequest) -> JSONObject:
        entry = await answers.resolve(services, body.model)
        await services.engine.load(ModelAddress.of(entry))
        return {"model": entry.name, "state": "loading" if entry.name not in services.engine.state.models else "loaded"}

    @router.post("/api/engine/unload")
    async def unload_model(body: LoadRequest) -> JSONObject:
        entry = await answers.resolve(services, body.model)
        size = await services.engine.unload(ModelAddress.of(entry))
        return {"model": entry.name, "state": "unloaded", "bytes": size}

    return router
