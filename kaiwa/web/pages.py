"""All pages, mounted on the server's application by `mount`, which commands/web_app.py calls."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request
from fastapi.staticfiles import StaticFiles
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response, StreamingResponse

from kaiwa.core.errors import UserError
from kaiwa.feedback.batch_store import BatchStore
from kaiwa.feedback.store import FILE
from kaiwa.web import arena, build, chat, demonstrate, label, label_owner, leaderboard, models, redteam, training
from kaiwa.web.events import EVENT_STREAM, Shutdown, changes
from kaiwa.web.judging import Queues
from kaiwa.web.key_chats import ClientScope, KeyChats
from kaiwa.web.services import PageServices
from kaiwa.web.view import HEADERS, PageView


def mount(app: FastAPI, services: PageServices) -> Callable[[], Coroutine[object, object, None]]:
    """Add every page to `app`, and return a function to end open streams and answers (their text is kept).

    The server awaits the function before shutting down, so open pages do not delay the end. Otherwise the
    application's lifespan calls the function.
    """
    shutdown = Shutdown()
    chats = KeyChats(services.home, services.engine)
    view = PageView(services)
    batches = BatchStore(services.home / FILE)
    queues = Queues(view, batches)

    def engine_dot() -> Mapping[str, object]:
        status = services.engine.status()
        return {"state": status.state, "speed": round(status.tokens_per_second), "why": status.why}

    def stream_engine() -> StreamingResponse:
        return StreamingResponse(changes(engine_dot, shutdown), media_type=EVENT_STREAM, headers=HEADERS)

    app.include_router(chat.routes(chat.ChatPages(view, chats)))
    app.include_router(build.routes(build.BuildPages(view, shutdown)))
    app.include_router(models.routes(view))
    app.include_router(leaderboard.routes(view))
    app.include_router(training.routes(view))
    arena_pages = arena.ArenaPages(view, chats, batches)
    app.include_router(arena.routes(arena_pages))
    app.include_router(label.routes(label.LabelPages(queues)))
    app.include_router(demonstrate.routes(demonstrate.DemonstratePages(queues)))
    app.include_router(label_owner.routes(label_owner.LabelOwnerPages(queues)))
    app.include_router(redteam.routes(redteam.RedTeamPages(view)))
    app.add_api_route("/events", stream_engine, methods=["GET"], response_model=None, include_in_schema=False)
    for name, package in (("report", "kaiwa.report"), ("", "kaiwa.web")):
        folder = resources.files(package).joinpath("static")
        app.mount(f"/static/{name}".rstrip("/"), StaticFiles(directory=str(folder)), name=f"static {package}")
    app.exception_handlers.setdefault(UserError, respond_to_user_error)
    app.user_middleware.append(Middleware(ClientScope))  # innermost: the guard has named the client by then

    async def close() -> None:
        shutdown.begin()
        await arena_pages.games.close()
        await chats.end_answers()

    inner = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncIterator[Any]:
        async with inner(application) as state:
            try:
                yield state
            finally:
                await close()
                chats.close()
                batches.close()

    app.router.lifespan_context = lifespan
    return close


async def respond_to_user_error(_request: Request, error: Exception) -> Response:
    """Return a UserError from anywhere in the pages as a single line for the person."""
    return JSONResponse({"error": str(error)}, status_code=400, headers=HEADERS)
