"""Errors in OpenAI's shape, whatever went wrong: {"error": {"message", "type", "param", "code"}}."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from kaiwa.core.errors import UserError
from kaiwa.serve.worker.client import EngineBusy, EngineLost, EngineRefused

log = logging.getLogger("kaiwa.serve")
TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class APIError(Exception):
    """An answer with an error status."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param

    def body(self) -> dict[str, Any]:
        return error_body(self.status, self.message, self.code, self.param)


def error_body(status: int, message: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """Whatever of a request is repeated in it must be text that can be sent: half characters become "?"."""
    kind = "server_error" if status >= 500 else TYPES.get(status, "invalid_request_error")
    return {"error": {"message": _sendable(message), "type": kind, "param": _sendable(param), "code": code}}


def _sendable(text: str | None) -> Any:
    return text if text is None else text.encode("utf-8", "replace").decode()[:1000]


def error_response(
    status: int, message: str, code: str | None = None, param: str | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    return JSONResponse(error_body(status, message, code, param), status_code=status, headers=headers)


def from_exception(error: Exception) -> APIError:
    """What a failure in the middle of an answer is told as."""
    if isinstance(error, APIError):
        return error
    if isinstance(error, EngineBusy):
        return APIError(429, f"{error}; try again in a moment", "queue_full")
    if isinstance(error, EngineLost):
        return APIError(503, str(error), "engine_restarting")
    if isinstance(error, EngineRefused):
        return APIError(error.said["status"], error.said["message"], error.said["code"], error.said.get("param"))
    if isinstance(error, UserError):
        return APIError(400, str(error), "invalid_value")
    log.error("unexpected %s", type(error).__name__, exc_info=error)
    return APIError(500, "the server failed; its log says more", "internal_error")


def install(app: FastAPI) -> None:
    """Every way an answer can fail, in one shape."""

    async def told(request: Request, error: Exception) -> JSONResponse:
        api = from_exception(error)
        headers = {"Retry-After": "2"} if api.status in (429, 503) else None
        return JSONResponse(api.body(), status_code=api.status, headers=headers)

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        message = {404: f"{request.url.path} does not exist here", 405: f"{request.method} is not possible here"}.get(
            error.status_code, str(error.detail)
        )
        headers = dict(error.headers) if error.headers else None
        if error.status_code == 400 and str(error.detail).startswith("There was an error parsing"):  # FastAPI's words
            return error_response(400, "the body is not JSON in UTF-8, or nested too deep", "invalid_json")
        return error_response(error.status_code, message, headers=headers)

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return error_response(400, f"the body is not JSON ({first['ctx']['error']})", "invalid_json")
        where = named(first["loc"], error.body)
        code = "missing_required_parameter" if first["type"] == "missing" else "invalid_value"
        said = str(first["msg"]).removeprefix("Value error, ")
        return error_response(400, f"{where}: {said}" if where else said, code, where or None)

    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    for kind in (APIError, EngineBusy, EngineLost, EngineRefused, UserError, Exception):
        app.add_exception_handler(kind, told)


def named(loc: Sequence[str | int], body: Any) -> str:
    """The field that pydantic speaks of, as the client wrote it ("messages[0].content"): its own names for the branches
    of a union are left out, which are known by not being in the body."""
    parts = [part for part in loc if part not in ("body", "query", "path")]
    path = ""
    for place, part in enumerate(parts):
        last = place == len(parts) - 1
        if isinstance(body, dict) and isinstance(part, str) and (part in body or last):
            path, body = f"{path}.{part}" if path else part, body.get(part)
        elif isinstance(body, list) and isinstance(part, int) and part < len(body):
            path, body = f"{path}[{part}]", body[part]
        elif not path and not isinstance(body, dict):
            path = str(part)  # not of a JSON body: a query's or a form's field
    return path
