"""Builds over HTTP: list, start, stop, and a stream of their logs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from kaiwa.core.errors import UserError
from kaiwa.serve.exceptions import APIError
from kaiwa.serve.http.bounded_json import JSONObject
from kaiwa.serve.http.sse import event, stream_response
from kaiwa.serve.services import ServerServices
from kaiwa.serve.tuning.builds import BuildJob

TAIL_SECONDS = 0.5
BATCH = 500  # rows per event


class BuildRequest(BaseModel):
    recipe: str


def routes(services: ServerServices) -> APIRouter:
    router = APIRouter()
    jobs = services.jobs

    def get(run: str) -> BuildJob:
        try:
            return jobs.get(run)
        except UserError as error:
            raise APIError(404, str(error), "job_not_found") from None

    @router.get("/api/jobs")
    async def list_builds() -> JSONObject:
        builds = await asyncio.to_thread(jobs.all)
        return {"jobs": [job.to_json() for job in builds], "recipes": list(jobs.recipes)}

    @router.post("/api/jobs", status_code=201)
    async def start_build(body: BuildRequest) -> JSONObject:
        try:
            return (await asyncio.to_thread(jobs.start, body.recipe)).to_json()
        except UserError as error:
            raise APIError(404 if error.code == "no_recipe" else 409, str(error), error.code) from None

    @router.get("/api/jobs/{run}")
    async def show_build(run: str) -> JSONObject:
        return get(run).to_json()

    @router.post("/api/jobs/{run}/stop")
    async def stop_build(run: str) -> JSONObject:
        get(run)
        try:
            return (await asyncio.to_thread(jobs.stop, run)).to_json()
        except UserError as error:
            raise APIError(409, str(error), "not_running") from None

    @router.get("/api/jobs/{run}/events")
    async def stream_events(run: str) -> StreamingResponse:
        get(run)
        return stream_response(_tail(services, run), {})

    return router


async def _tail(services: ServerServices, run: str) -> AsyncGenerator[str, None]:
    """Yield `status` events when the status changes, `rows` with new metrics rows, and `end` when the build is over."""
    offsets: dict[str, int] = {}
    sent_status: JSONObject | None = None
    while True:
        job = await asyncio.to_thread(services.jobs.get, run)
        rows = await asyncio.to_thread(services.jobs.log_rows, run, offsets)
        for start in range(0, len(rows), BATCH):
            yield event(rows[start : start + BATCH], "rows")
        if job.to_json() != sent_status:
            sent_status = job.to_json()
            yield event(sent_status, "status")
        if job.status["state"] != "running":
            yield event({"state": job.status["state"]}, "end")
            return
        if services.engine.stopping:
            return
        await asyncio.sleep(TAIL_SECONDS)
