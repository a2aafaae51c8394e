"""Leaderboard page: the local models, ranked by their results of `kaiwa evaluate`."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from kaiwa.web.view import PageView

LANGUAGES = ("en", "ja")


def routes(view: PageView) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    def page(request: Request, language: str = "") -> HTMLResponse:
        from kaiwa.lab.experiments.leaderboard import (  # numpy: only when the page is asked for
            rank,
            read_results,
            select_task_versions,
        )

        known = {card.name for card in view.services.catalog.models()}
        results = select_task_versions([r for r in read_results(view.services.home) if r.model in known])
        chosen = language if language in LANGUAGES else ""
        places = rank(results, chosen)
        done = {place.model for place in places}
        partly = sorted({r.model for r in results if chosen in ("", r.language)} - done)
        tasks = list(places[0].accuracy) if places else []
        return view.page(
            request,
            "leaderboard.html",
            places=places,
            tasks=tasks,
            partly=partly,
            chosen=chosen,
            languages=sorted({r.language for r in results}),
        )

    router.add_api_route("/leaderboard", page, methods=["GET"], response_model=None)
    return router
