"""The web application: routes, guard, and the engine's life beside it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from fastapi import FastAPI

from kaiwa import __version__
from kaiwa.defend.parse import read_file
from kaiwa.engine.catalog import listed
from kaiwa.serve import (
    errors,
    routes_chat,
    routes_completions,
    routes_embeddings,
    routes_files,
    routes_fine_tuning,
    routes_jobs,
    routes_metrics,
    routes_models,
    routes_responses,
    routes_tokens,
)
from kaiwa.serve.defending import make_shield
from kaiwa.serve.engine_client import EngineClient
from kaiwa.serve.fine_tuning_jobs import FineTuning
from kaiwa.serve.jobs import Jobs
from kaiwa.serve.security import Guard
from kaiwa.serve.services import Services, Settings
from kaiwa.serve.shares import Shares

ROUTES = (
    routes_models,
    routes_chat,
    routes_completions,
    routes_embeddings,
    routes_responses,
    routes_tokens,
    routes_metrics,
    routes_files,
    routes_fine_tuning,
    routes_jobs,
)


def make_services(settings: Settings) -> Services:
    """UserError for a defence that cannot run as its file says."""
    engine = EngineClient()
    services = Services(settings=settings, engine=engine, jobs=Jobs(settings.runs))
    services = replace(services, tuning=FineTuning(settings.home, services.models))
    if settings.defence is None:
        return services
    file = read_file(settings.defence)
    judge = listed(file.model or settings.model, services.models()) if file.judges else None
    return replace(services, shield=make_shield(file, engine, judge))


def make_app(services: Services) -> FastAPI:
    """The engine process starts and ends with the application."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await services.engine.start()
        try:
            yield
        finally:
            await services.engine.close()
            if services.shield is not None:
                services.shield.pool.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(title="kaiwa", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    errors.install(app)
    for part in ROUTES:
        app.include_router(part.routes(services))
    settings = services.settings
    app.add_middleware(Shares, most=settings.per_key)
    app.add_middleware(routes_metrics.Counting, metrics=services.metrics)
    app.add_middleware(
        Guard,
        port=settings.port,
        api_key=settings.api_key,
        admin_key=settings.admin_key,
        names=settings.names,
        addresses=settings.open,
    )
    return app
