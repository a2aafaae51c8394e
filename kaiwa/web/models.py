"""Models page: the local models with their description, size and origin."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from kaiwa.web.view import PageView, about
from kaiwa.web.words import language_of


def routes(view: PageView) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    def page(request: Request) -> HTMLResponse:
        language, catalog = language_of(request), view.services.catalog
        cards = [(card, about(card, language)) for card in (*catalog.models(), *catalog.failed())]
        return view.page(request, "models.html", cards=cards)

    router.add_api_route("/models", page, methods=["GET"], response_model=None)
    return router
