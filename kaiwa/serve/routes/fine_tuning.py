"""/v1/fine_tuning/jobs: create, list, retrieve, cancel, pause, resume, events, checkpoints; and delete a trained model.

OpenAI's Fine-tuning API: its unmodified client works here. Methods `supervised` and `dpo` are OpenAI's, `soft_prompt`
and `reward` are ours in the same shape.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from fastapi import APIRouter, FastAPI, Request

from kaiwa.core.errors import UserError
from kaiwa.serve.answers import resolve
from kaiwa.serve.exceptions import APIError, EngineBusy, EngineLost, EngineRefused
from kaiwa.serve.http.bounded_json import JSONObject
from kaiwa.serve.http.keys import owner_of
from kaiwa.serve.routes.files import list_page
from kaiwa.serve.services import ServerServices
from kaiwa.serve.tuning.job_folder import JobFolder
from kaiwa.serve.tuning.job_plan import TuningRequest
from kaiwa.serve.tuning.jobs import FineTuning
from kaiwa.serve.worker.wire import ModelAddress


def routes(services: ServerServices, tuning: FineTuning | None = None) -> APIRouter:
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

    def get(id: str, request: Request) -> JobFolder:
        try:
            return jobs.get(id, owner_of(request.scope))
        except UserError as error:
            raise APIError(404, str(error), "job_not_found", "fine_tuning_job_id") from None

    @router.post("/v1/fine_tuning/jobs")
    async def create_job(body: TuningRequest, request: Request) -> JSONObject:
        await resolve(services, body.model)
        return (await asyncio.to_thread(_create, jobs, body, owner_of(request.scope))).to_json()

    @router.get("/v1/fine_tuning/jobs")
    async def list_jobs(request: Request, limit: int = 20, after: str | None = None) -> JSONObject:
        rows = await asyncio.to_thread(lambda: [job.to_json() for job in jobs.all(owner_of(request.scope))])
        filters = {k[9:-1]: v for k, v in request.query_params.items() if k.startswith("metadata[") and k[-1] == "]"}
        rows = [row for row in rows if filters.items() <= _metadata(row).items()]
        return list_page(rows, after, limit)

    @router.get("/v1/fine_tuning/jobs/{id}")
    async def show_job(id: str, request: Request) -> JSONObject:
        return await asyncio.to_thread(get(id, request).to_json)

    @router.post("/v1/fine_tuning/jobs/{id}/cancel")
    async def cancel_job(id: str, request: Request) -> JSONObject:
        return await change(id, request, lambda: jobs.stop(id, "cancel"))

    @router.post("/v1/fine_tuning/jobs/{id}/pause")
    async def pause_job(id: str, request: Request) -> JSONObject:
        return await change(id, request, lambda: jobs.stop(id, "pause"))

    @router.post("/v1/fine_tuning/jobs/{id}/resume")
    async def resume_job(id: str, request: Request) -> JSONObject:
        return await change(id, request, lambda: jobs.resume(id))

    async def change(id: str, request: Request, action: Callable[[], JobFolder]) -> JSONObject:
        get(id, request)
        try:
            job = await asyncio.to_thread(action)
        except UserError as error:
            raise APIError(400, str(error), "invalid_state", "fine_tuning_job_id") from None
        return job.to_json()

    @router.get("/v1/fine_tuning/jobs/{id}/events")
    async def list_events(id: str, request: Request, limit: int = 20, after: str | None = None) -> JSONObject:
        return list_page(await asyncio.to_thread(get(id, request).events), after, limit)

    @router.get("/v1/fine_tuning/jobs/{id}/checkpoints")
    async def list_checkpoints(id: str, request: Request, limit: int = 10, after: str | None = None) -> JSONObject:
        return list_page(await asyncio.to_thread(get(id, request).checkpoints), after, limit)

    @router.delete("/v1/models/{name:path}")
    async def delete_model(name: str) -> JSONObject:
        entry = await resolve(services, name)
        try:
            await asyncio.to_thread(jobs.delete_model, name)
        except UserError as error:
            raise APIError(403, str(error), "not_a_fine_tuned_model", "model") from None
        with contextlib.suppress(EngineRefused, EngineLost, EngineBusy):  # it goes when it has answered
            await services.engine.unload(ModelAddress.of(entry))
        return {"id": name, "object": "model", "deleted": True}

    return router


def _metadata(row: JSONObject) -> JSONObject:
    metadata = row["metadata"]
    return metadata if isinstance(metadata, dict) else {}


def _create(jobs: FineTuning, body: TuningRequest, owner: str | None) -> JobFolder:
    """Create a job. APIError (400) with the faulty field."""
    for param, id in (("training_file", body.training_file), ("validation_file", body.validation_file)):
        if id is not None:
            try:
                jobs.files.get(id, owner)
            except UserError as error:
                raise APIError(400, f"{param}: {error}", "invalid_value", param) from None
    try:
        return jobs.create(body, owner or "")
    except UserError as error:
        message = f"{error.field}: {error}" if error.code else str(error)
        raise APIError(400, message, error.code or "invalid_value", error.field or "method") from None
