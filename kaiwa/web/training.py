"""Training page: the server's fine-tuning jobs with their latest events, and a button to cancel a job."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from kaiwa.web.services import TuningJob
from kaiwa.web.view import PageView

EVENTS = 12  # newest of each job that the page shows
OVER = ("succeeded", "failed", "cancelled")


def routes(view: PageView) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    def jobs(request: Request) -> Sequence[TuningJob]:
        tuning = view.services.tuning
        return tuning.jobs(EVENTS, request.scope) if tuning is not None else ()

    async def page(request: Request) -> HTMLResponse:
        return view.page(request, "training.html", jobs=await asyncio.to_thread(jobs, request), over=OVER)

    async def part(request: Request) -> HTMLResponse:
        """Return the list alone, which the page asks for again while a job runs."""
        return view.part(request, "training_jobs.html", jobs=await asyncio.to_thread(jobs, request), over=OVER)

    async def cancel(id: str) -> RedirectResponse:
        """Cancel a job; the page has a plain form, so no script is needed. UserError for a finished or unknown job."""
        tuning = view.services.tuning
        if tuning is not None:
            await asyncio.to_thread(tuning.cancel, id)
        return RedirectResponse("/training", status_code=303)

    router.add_api_route("/training", page, methods=["GET"], response_model=None)
    router.add_api_route("/training/jobs", part, methods=["GET"], response_model=None)
    router.add_api_route("/training/{id}/cancel", cancel, methods=["POST"], response_model=None)
    return router
