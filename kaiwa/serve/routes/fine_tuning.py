"""/v1/fine_tuning/jobs: create, list, retrieve, cancel, pause, resume, events, checkpoints; and delete what came of it.

OpenAI's Fine-tuning API: its unmodified client trains here. Methods `supervised` and `dpo` are OpenAI's, `soft_prompt`
and `reward` are ours in the same shape.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, FastAPI, Request

from kaiwa.core.errors import UserError
from kaiwa.serve.answers import resolve
from kaiwa.serve.http.errors import APIError
from kaiwa.serve.routes.files import page
from kaiwa.serve.services import Services
from kaiwa.serve.tuning.job_folder import JobFolder
from kaiwa.serve.tuning.job_plan import JobRequest
from kaiwa.serve.tuning.jobs import FineTuning, InvalidFile
from kaiwa.serve.worker.client import EngineBusy, EngineLost, EngineRefused


def routes(services: Services, tuning: FineTuning | None = None) -> APIRouter:
    jobs = tuning or services.tuning or FineTuning(services.settings.home, services.models)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if await asyncio.to_thread(jobs.all):
            jobs.watch()  # what an earlier server left running or waiting
        try:
            yield
        finally:
            jobs.close()

    router = APIRouter(lifespan=lifespan)

    def get(id: str) -> JobFolder:
        try:
            return jobs.get(id)
        except UserError as error:
            raise APIError(404, str(error), "job_not_found", "fine_tuning_job_id") from None

    @router.post("/v1/fine_tuning/jobs")
    async def create(body: JobRequest) -> dict[str, Any]:
        await resolve(services, body.model)
        return (await asyncio.to_thread(_create, jobs, body)).to_json()

    @router.get("/v1/fine_tuning/jobs")
    async def listed(request: Request, limit: int = 20, after: str | None = None) -> dict[str, Any]:
        rows = await asyncio.to_thread(lambda: [job.to_json() for job in jobs.all()])
        wanted = {k[9:-1]: v for k, v in request.query_params.items() if k.startswith("metadata[") and k[-1] == "]"}
        rows = [row for row in rows if wanted.items() <= (row["metadata"] or {}).items()]
        return page(rows, after, limit)

    @router.get("/v1/fine_tuning/jobs/{id}")
    async def one(id: str) -> dict[str, Any]:
        return await asyncio.to_thread(get(id).to_json)

    @router.post("/v1/fine_tuning/jobs/{id}/cancel")
    async def cancel(id: str) -> dict[str, Any]:
        return await change(id, lambda: jobs.stop(id, "cancel"))

    @router.post("/v1/fine_tuning/jobs/{id}/pause")
    async def pause(id: str) -> dict[str, Any]:
        return await change(id, lambda: jobs.stop(id, "pause"))

    @router.post("/v1/fine_tuning/jobs/{id}/resume")
    async def resume(id: str) -> dict[str, Any]:
        return await change(id, lambda: jobs.resume(id))

    async def change(id: str, do: Any) -> dict[str, Any]:
        get(id)
        try:
            job: JobFolder = await asyncio.to_thread(do)
        except UserError as error:
            raise APIError(400, str(error), "invalid_state", "fine_tuning_job_id") from None
        return job.to_json()

    @router.get("/v1/fine_tuning/jobs/{id}/events")
    async def events(id: str, limit: int = 20, after: str | None = None) -> dict[str, Any]:
        return page(await asyncio.to_thread(get(id).events), after, limit)

    @router.get("/v1/fine_tuning/jobs/{id}/checkpoints")
    async def checkpoints(id: str, limit: int = 10, after: str | None = None) -> dict[str, Any]:
        return page(await asyncio.to_thread(get(id).checkpoints), after, limit)

    @router.delete("/v1/models/{name:path}")
    async def delete_model(name: str) -> dict[str, Any]:
        entry = await resolve(services, name)
        try:
            await asyncio.to_thread(jobs.delete_model, name)
        except UserError as error:
            raise APIError(403, str(error), "not_a_fine_tuned_model", "model") from None
        with contextlib.suppress(EngineRefused, EngineLost, EngineBusy):  # it goes when it has answered
            await services.engine.unload(entry)
        return {"id": name, "object": "model", "deleted": True}

    return router


def _create(jobs: FineTuning, body: JobRequest) -> JobFolder:
    """A new job; what does not fit becomes a 400 that names the field."""
    for param, id in (("training_file", body.training_file), ("validation_file", body.validation_file)):
        if id is not None:
            try:
                jobs.files.get(id)
            except UserError as error:
                raise APIError(400, f"{param}: {error}", "invalid_value", param) from None
    try:
        return jobs.create(body)
    except InvalidFile as error:
        raise APIError(400, f"{error.param}: {error}", f"invalid_{error.param}", error.param) from None
    except UserError as error:
        raise APIError(400, str(error), "invalid_value", "method") from None
