"""Builds over HTTP: list, start, stop, and a stream of what they log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from kaiwa.core.errors import UserError
from kaiwa.serve.http.errors import APIError
from kaiwa.serve.http.sse import event, streaming
from kaiwa.serve.services import Services
from kaiwa.serve.tuning.builds import Job

TAIL_SECONDS = 0.5
BATCH = 500  # rows an event


class JobRequest(BaseModel):
    recipe: str


def routes(services: Services) -> APIRouter:
    router = APIRouter()
    jobs = services.jobs

    def get(run: str) -> Job:
        try:
            return jobs.get(run)
        except UserError as error:
            raise APIError(404, str(error), "job_not_found") from None

    @router.get("/api/jobs")
    async def listed() -> dict[str, Any]:
        found = await asyncio.to_thread(jobs.all)
        return {"jobs": [job.to_json() for job in found], "recipes": list(jobs.recipes)}

    @router.post("/api/jobs", status_code=201)
    async def start(body: JobRequest) -> dict[str, Any]:
        try:
            return (await asyncio.to_thread(jobs.start, body.recipe)).to_json()
        except UserError as error:
            unknown = body.recipe not in jobs.recipes
            raise APIError(404 if unknown else 409, str(error), "no_recipe" if unknown else "running") from None

    @router.get("/api/jobs/{run}")
    async def one(run: str) -> dict[str, Any]:
        return get(run).to_json()

    @router.post("/api/jobs/{run}/stop")
    async def stop(run: str) -> dict[str, Any]:
        get(run)
        try:
            return (await asyncio.to_thread(jobs.stop, run)).to_json()
        except UserError as error:
            raise APIError(409, str(error), "not_running") from None

    @router.get("/api/jobs/{run}/events")
    async def events(run: str) -> StreamingResponse:
        get(run)
        return streaming(_tail(services, run), {})

    return router


async def _tail(services: Services, run: str) -> AsyncGenerator[str, None]:
    """`event: status` when it changes, `event: rows` with new metrics rows, `event: end` when the build is over."""
    offsets: dict[str, int] = {}
    told: Any = None
    while True:
        job = await asyncio.to_thread(services.jobs.get, run)
        rows = await asyncio.to_thread(services.jobs.log_rows, run, offsets)
        for start in range(0, len(rows), BATCH):
            yield event(rows[start : start + BATCH], "rows")
        if job.to_json() != told:
            told = job.to_json()
            yield event(told, "status")
        if job.status["state"] != "running":
            yield event({"state": job.status["state"]}, "end")
            return
        await asyncio.sleep(TAIL_SECONDS)
