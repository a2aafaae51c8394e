"""Mounts the pages on the server's app. `kaiwa/commands/up.py` calls `mount(app, services)`; nothing runs before."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request
from fastapi.staticfiles import StaticFiles
from starlette.responses import JSONResponse, Response, StreamingResponse

from kaiwa.core.errors import UserError
from kaiwa.feedback.store import FILE, Store
from kaiwa.web import build, chat, leaderboard, models, redteam, training
from kaiwa.web.answers import Answers
from kaiwa.web.events import EVENT_STREAM, Ending, changes
from kaiwa.web.services import PageServices
from kaiwa.web.view import HEADERS, View


def mount(app: FastAPI, services: PageServices) -> Callable[[], Coroutine[Any, Any, None]]:
    """Adds every page to `app`. What comes back ends what is open: answers in the making keep what they have, streams
    to pages end. The server awaits it before it goes down; if it forgets to, that happens when it is down.
    """
    ending = Ending()
    store = Store(services.home / FILE)
    answers = Answers(store, services.engine)
    view = View(services)

    def dot() -> Mapping[str, Any]:
        status = services.engine.status()
        return {"state": status.state, "speed": round(status.tokens_per_second), "why": status.why}

    def engine() -> StreamingResponse:
        return StreamingResponse(changes(dot, ending), media_type=EVENT_STREAM, headers=HEADERS)

    app.include_router(chat.routes(chat.Chat(view, store, answers)))
    app.include_router(build.routes(build.Build(view, ending)))
    app.include_router(models.routes(view))
    app.include_router(leaderboard.routes(view))
    app.include_router(training.routes(view))
    app.include_router(redteam.routes(redteam.RedTeam(view)))
    app.add_api_route("/events", engine, methods=["GET"], response_model=None, include_in_schema=False)
    for name, package in (("report", "kaiwa.report"), ("", "kaiwa.web")):
        folder = resources.files(package).joinpath("static")
        app.mount(f"/static/{name}".rstrip("/"), StaticFiles(directory=str(folder)), name=f"static {package}")
    app.exception_handlers.setdefault(UserError, bad_request)

    async def close() -> None:
        ending.begin()
        await answers.close()

    inner = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncIterator[Any]:
        async with inner(application) as state:
            try:
                yield state
            finally:
                await close()
                store.close()

    app.router.lifespan_context = lifespan
    return close


async def bad_request(_request: Request, error: Exception) -> Response:
    """A UserError anywhere in the pages is one clear line for the person."""
    return JSONResponse({"error": str(error)}, status_code=400, headers=HEADERS)
