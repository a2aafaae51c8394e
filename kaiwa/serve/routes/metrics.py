"""GET /metrics, and the middleware that counts responses."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from kaiwa.serve.http.metrics import CONTENT_TYPE, Metrics, exposition
from kaiwa.serve.http.security import App, Receive, Scope, Send
from kaiwa.serve.services import Services


def routes(services: Services) -> APIRouter:
    router = APIRouter()

    @router.get("/metrics")
    async def metrics() -> Response:
        engine = services.engine
        told = exposition(services.metrics, engine.state, engine.under_way, services.shield)
        return Response(told, media_type=CONTENT_TYPE)

    return router


class Counting:
    """ASGI middleware: how many responses of which status each route gave. Unknown paths are one route, "other"."""

    def __init__(self, app: App, *, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def counted(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self.metrics.responded(str(getattr(scope.get("route"), "path", "other")), message["status"])
            await send(message)

        await self.app(scope, receive, counted)
