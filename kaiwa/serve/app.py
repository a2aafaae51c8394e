"""The web application: routes, guards, and an engine process with the same lifetime."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from fastapi import FastAPI

from kaiwa import __version__
from kaiwa.catalog.entries import entry_by_name
from kaiwa.defend.parse import read_file
from kaiwa.serve.defence.shield import make_shield
from kaiwa.serve.http import errors
from kaiwa.serve.http.head import HeadAsGet
from kaiwa.serve.http.keys import FILE, NamedKeys
from kaiwa.serve.http.rate_limit import ShareLimit
from kaiwa.serve.http.root_path import RootPath
from kaiwa.serve.http.security import Guard
from kaiwa.serve.routes import (
    builds,
    chat,
    completions,
    embeddings,
    files,
    fine_tuning,
    messages,
    metrics,
    models,
    ollama,
    responses,
    tokens,
)
from kaiwa.serve.services import ServerServices, ServerSettings
from kaiwa.serve.tuning.builds import BuildJobs
from kaiwa.serve.tuning.jobs import FineTuning
from kaiwa.serve.worker.client import EngineClient

ROUTES = (
    models,
    chat,
    completions,
    embeddings,
    responses,
    messages,
    ollama,
    tokens,
    metrics,
    files,
    fine_tuning,
    builds,
)


def make_services(settings: ServerSettings) -> ServerServices:
    """Return the services described by the settings. UserError if the defence of the file cannot run."""
    engine = EngineClient()
    services = ServerServices(settings=settings, engine=engine, jobs=BuildJobs(settings.runs))
    services = replace(services, tuning=FineTuning(settings.home, services.models))
    if settings.defence is None:
        return services
    file = read_file(settings.defence)
    judge = entry_by_name(file.model or settings.model, services.models()) if file.judges else None
    return replace(services, shield=make_shield(file, engine, judge))


def make_app(services: ServerServices) -> FastAPI:
    """Return the application. The engine process starts and ends with the application."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await services.engine.start()
        if services.shield is not None:
            services.shield.start()
        try:
            yield
        finally:
            await services.engine.close()
            if services.shield is not None:
                services.shield.close()
            services.usage.save()

    # Curl and some clients send JSON without a Content-Type; cross-site requests are refused by their Origin.
    app = FastAPI(
        title="kaiwa",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        strict_content_type=False,
    )
    errors.install(app)
    for module in ROUTES:
        app.include_router(module.routes(services))
    settings = services.settings
    app.add_middleware(ShareLimit, shares=services.shares)
    app.add_middleware(metrics.ResponseCounter, metrics=services.metrics)
    app.add_middleware(HeadAsGet)
    app.add_middleware(
        Guard,
        port=settings.port,
        api_key=settings.api_key,
        admin_key=settings.admin_key,
        keys=NamedKeys(settings.home / FILE) if settings.named_keys else None,
        names=settings.names,
        public_names=settings.public_names,
        origins=settings.origins,
        addresses=settings.open,
    )
    if settings.root_path:
        app.add_middleware(RootPath, root_path=settings.root_path)
    return app
