"""The web application: routes, guard, and the engine's life beside it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from fastapi import FastAPI

from kaiwa import __version__
from kaiwa.catalog.entries import listed
from kaiwa.defend.parse import read_file
from kaiwa.serve.defence.shield import make_shield
from kaiwa.serve.http import errors
from kaiwa.serve.http.rate_limit import Shares
from kaiwa.serve.http.security import Guard
from kaiwa.serve.routes import (
    builds,
    chat,
    completions,
    embeddings,
    files,
    fine_tuning,
    metrics,
    models,
    responses,
    tokens,
)
from kaiwa.serve.services import Services, Settings
from kaiwa.serve.tuning.builds import Jobs
from kaiwa.serve.tuning.jobs import FineTuning
from kaiwa.serve.worker.client import EngineClient

ROUTES = (
    models,
    chat,
    completions,
    embeddings,
    responses,
    tokens,
    metrics,
    files,
    fine_tuning,
    builds,
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
    app.add_middleware(metrics.Counting, metrics=services.metrics)
    app.add_middleware(
        Guard,
        port=settings.port,
        api_key=settings.api_key,
        admin_key=settings.admin_key,
        names=settings.names,
        addresses=settings.open,
    )
    return app
