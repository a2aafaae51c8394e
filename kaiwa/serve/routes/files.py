"""/v1/files: upload, list, retrieve, content, delete (OpenAI's Files API, for fine-tuning)."""

from __future__ import annotations

import asyncio
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse
from starlette.datastructures import UploadFile

from kaiwa.core.errors import UserError
from kaiwa.serve.exceptions import APIError
from kaiwa.serve.http.bounded_json import JSONObject
from kaiwa.serve.http.keys import owner_of
from kaiwa.serve.services import ServerServices
from kaiwa.serve.tuning.training_data import lines
from kaiwa.serve.tuning.uploaded_files import StoredFile, UploadedFiles

MOST_FIELDS = 16


def routes(services: ServerServices) -> APIRouter:
    router = APIRouter()
    files = UploadedFiles(services.settings.home / "files")

    def get(id: str, request: Request) -> StoredFile:
        try:
            return files.get(id, owner_of(request.scope))
        except UserError as error:
            raise APIError(404, str(error), "file_not_found", "file_id") from None

    @router.post("/v1/files")
    async def upload_file(request: Request) -> JSONObject:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "multipart/form-data":
            raise APIError(400, "file and purpose are expected as multipart/form-data", "invalid_value", "file")
        async with request.form(max_files=1, max_fields=MOST_FIELDS) as form:
            upload, purpose = form.get("file"), form.get("purpose")
            if not isinstance(upload, UploadFile):
                raise APIError(400, "file: a file is missing", "missing_required_parameter", "file")
            if purpose != "fine-tune":
                raise APIError(400, "purpose: 'fine-tune' is the only one there is", "invalid_value", "purpose")
            return (await asyncio.to_thread(_store, files, upload, owner_of(request.scope) or "")).to_json()

    @router.get("/v1/files")
    async def list_files(
        request: Request,
        purpose: str | None = None,
        limit: int = 10_000,
        after: str | None = None,
        order: Literal["asc", "desc"] = "desc",
    ) -> JSONObject:
        chosen = [
            file
            for file in await asyncio.to_thread(files.all, owner_of(request.scope))
            if purpose in (None, file.purpose)
        ]
        chosen = chosen if order == "desc" else chosen[::-1]
        return list_page([file.to_json() for file in chosen], after, limit)

    @router.get("/v1/files/{id}")
    async def show_file(id: str, request: Request) -> JSONObject:
        return get(id, request).to_json()

    @router.get("/v1/files/{id}/content")
    async def download(id: str, request: Request) -> FileResponse:
        file = get(id, request)
        return FileResponse(files.path(id), media_type="application/octet-stream", filename=file.filename)

    @router.delete("/v1/files/{id}")
    async def delete(id: str, request: Request) -> JSONObject:
        get(id, request)
        await asyncio.to_thread(files.delete, id)
        return {"id": id, "object": "file", "deleted": True}

    return router


def _store(files: UploadedFiles, upload: UploadFile, owner: str) -> StoredFile:
    """Store an upload if valid. APIError: 413 for a large file, 400 if empty or for a line without a JSON object."""
    try:
        file = files.add(upload.filename or "file", "fine-tune", upload.file, owner=owner)
    except UserError as error:
        raise APIError(413, str(error), "file_too_large", "file") from None
    try:
        n = sum(1 for _ in lines(files.path(file.id)))
        if not n:
            raise UserError("the file is empty; one JSON object a line is expected")
    except UserError as error:
        files.delete(file.id)
        raise APIError(400, f"{file.filename}: {error}", "invalid_file", "file") from None
    return file


def list_page(rows: list[JSONObject], after: str | None, limit: int) -> JSONObject:
    """Return OpenAI's list of at most `limit` rows following the row of id `after`."""
    ids = [row["id"] for row in rows]
    if after is not None and after not in ids:
        raise APIError(400, f"after: nothing in this list has the id {after[:60]!r}", "invalid_value", "after")
    if limit < 1:
        raise APIError(400, f"limit: {limit}; it must be at least 1", "invalid_value", "limit")
    start = ids.index(after) + 1 if after is not None else 0
    chosen = rows[start : start + limit]
    ends = {"first_id": chosen[0]["id"], "last_id": chosen[-1]["id"]} if chosen else {"first_id": None, "last_id": None}
    return {"object": "list", "data": chosen, "has_more": start + limit < len(rows), **ends}
