"""The web application: routes, guard, and the engine's life beside it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from kaiwa import __version__
from kaiwa.serve import (
    errors,
    routes_chat,
    routes_completions,
    routes_files,
    routes_fine_tuning,
    routes_jobs,
    routes_models,
)
from kaiwa.serve.engine_client import EngineClient
from kaiwa.serve.jobs import Jobs
from kaiwa.serve.security import Guard
from kaiwa.serve.services import Services, Settings


def make_services(settings: Settings) -> Services:
    return Services(settings=settings, engine=EngineClient(), jobs=Jobs(settings.runs))


def make_app(services: Services) -> FastAPI:
    """The engine process starts and ends with the application."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await services.engine.start()
        try:
            yield
        finally:
            await services.engine.close()

    app = FastAPI(
        title="kaiwa", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    errors.install(app)
    parts = (routes_models, routes_chat, routes_completions, routes_jobs, routes_files, routes_fine_tuning)
    for part in parts:
        app.include_router(part.routes(services))
    app.add_middleware(Guard, port=services.settings.port, api_key=services.settings.api_key)
    return app
