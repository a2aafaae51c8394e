"""Every error in OpenAI's shape: {"error": {"message", "type", "param", "code"}}; on paths of others in theirs."""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from kaiwa.core.errors import UserError
from kaiwa.serve.exceptions import APIError, EngineBusy, EngineLost
from kaiwa.serve.http.bounded_json import JSONObject

log = logging.getLogger("kaiwa.serve")
OLLAMA_PATHS = ("/api/chat", "/api/generate", "/api/embed", "/api/embeddings", "/api/show")
API_PATHS = ("/chat/completions", "/completions", "/responses", "/embeddings", "/models", "/messages")  # under /v1
TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


def error_body(status: int, message: str, code: str | None = None, param: str | None = None) -> JSONObject:
    """Return the body of an error response. Half characters from the request, unknown to UTF-8, become "?"."""
    kind = "server_error" if status >= 500 else TYPES.get(status, "invalid_request_error")
    return {"error": {"message": _sendable(message), "type": kind, "param": _sendable(param), "code": code}}


def shaped_error(path: str, status: int, message: str, code: str | None = None, param: str | None = None) -> JSONObject:
    """Return the body of an error as the clients of a path read it: Anthropic's, Ollama's or OpenAI's."""
    body = error_body(status, message, code, param)
    if path.startswith("/v1/messages"):
        return {"type": "error"} | body
    return {"error": _sendable(message)} if path in OLLAMA_PATHS else body


def _sendable(text: str | None) -> str | None:
    return text if text is None else text.encode("utf-8", "replace").decode()[:1000]


def error_response(path: str, error: APIError, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return the response for an error on a path."""
    body = shaped_error(path, error.status, error.message, error.code, error.param)
    return JSONResponse(body, status_code=error.status, headers=headers)


def api_error(error: Exception) -> APIError:
    """Return any exception as an error for the client; unexpected ones are logged and become 500."""
    if isinstance(error, APIError):
        return error
    if isinstance(error, EngineBusy):
        return APIError(429, f"{error}; try again in a moment", "queue_full")
    if isinstance(error, EngineLost):
        return APIError(503, str(error), "engine_restarting")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        log.error("the disk is full: %s", error)
        return APIError(507, "the server's disk is full; free some space there and try again", "insufficient_storage")
    if isinstance(error, UserError):
        return APIError(400, str(error), error.code or "invalid_value", error.field or None)
    log.error("unexpected %s", type(error).__name__, exc_info=error)
    return APIError(500, "the server failed; its log says more", "internal_error")


def error_event_body(error: Exception) -> JSONObject:
    """Return the body of the last event of a stream ended by `error`."""
    api = api_error(error)
    return error_body(api.status, api.message, api.code, api.param)


def install(app: FastAPI) -> None:
    """Add error handlers to the application, so every failure has the same shape."""

    async def respond_to_failure(request: Request, error: Exception) -> JSONResponse:
        api = api_error(error)
        headers = {"Retry-After": "2"} if api.status in (429, 503) else None
        return error_response(request.url.path, api, headers)

    async def respond_to_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        path = request.url.path
        message = {404: f"{path} does not exist here", 405: f"{path} takes no {request.method}"}.get(
            error.status_code, str(error.detail)
        )
        name = next((name for name in API_PATHS if path.endswith(name) and path != f"/v1{name}"), None)
        if error.status_code in (404, 405) and name is not None and path not in OLLAMA_PATHS:
            message += f"; it is /v1{name}: a client's base_url is {request.base_url}v1"
        headers = dict(error.headers) if error.headers else None
        api = APIError(error.status_code, message)
        if error.status_code == 400 and error.__cause__ is not None:  # how FastAPI raises what json.loads cannot read
            api = _compressed(request) or APIError(
                400, "the body is not JSON in UTF-8, or nested too deep", "invalid_json"
            )
        return error_response(path, api, headers)

    async def respond_to_invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return error_response(request.url.path, _compressed(request) or _invalid(error))

    app.add_exception_handler(HTTPException, respond_to_http)
    app.add_exception_handler(RequestValidationError, respond_to_invalid)
    for kind in (APIError, EngineBusy, EngineLost, UserError, OSError, Exception):
        app.add_exception_handler(kind, respond_to_failure)


def _compressed(request: Request) -> APIError | None:
    """Return the error of a body that was sent compressed, None for any other."""
    coding = request.headers.get("content-encoding", "identity")
    if coding == "identity":
        return None
    return APIError(415, f"the body is compressed ({coding[:20]}); send it without Content-Encoding", "invalid_json")


def _telling(errors: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the error that says most about the first fault: of a field that may be text or a list, the list's."""
    first = errors[0]
    place = first["loc"][:-1]
    same = [error for error in errors[:100] if len(first["loc"]) > 2 and error["loc"][: len(place)] == place]

    def weight(error: dict[str, Any]) -> tuple[bool, bool, int]:
        is_mismatch = error["type"].endswith("_type")  # the value was meant for another branch of a union
        return error["type"] == "value_error", not is_mismatch, len(error["loc"])

    return max(same or [first], key=weight)


def _invalid(error: RequestValidationError) -> APIError:
    """Return the first fault of a body as an error with its field."""
    first = _telling(error.errors())
    if first["type"] == "json_invalid":
        return APIError(400, f"the body is not JSON ({first['ctx']['error']})", "invalid_json")
    if first["type"] == "model_attributes_type" and first["loc"] == ("body",):
        message = "the body must be a JSON object, sent with the header Content-Type: application/json"
        return APIError(400, message, "invalid_value")
    is_missing = first["type"] == "missing"
    field = field_path(first["loc"], error.body, is_missing=is_missing)
    code = "missing_required_parameter" if is_missing else "invalid_value"
    message = str(first["msg"]).removeprefix("Value error, ")
    return APIError(400, f"{field}: {message}" if field else message, code, field or None)


def field_path(location: Sequence[str | int], body: object, *, is_missing: bool = False) -> str:
    """Return pydantic's location of a faulty field in the client's notation, such as "messages[0].content".

    pydantic's location also has its own names for the branches of a union. Names absent from the body are branches and
    are left out. is_missing: the last name is a missing field, although absent from the body.
    """
    parts = [part for part in location if part not in ("body", "query", "path")]
    path = ""
    for index, part in enumerate(parts):
        names_missing = is_missing and index == len(parts) - 1
        if isinstance(body, dict) and isinstance(part, str) and (part in body or names_missing):
            path, body = f"{path}.{part}" if path else part, body.get(part)
        elif isinstance(body, list) and isinstance(part, int) and part < len(body):
            path, body = f"{path}[{part}]", body[part]
        elif not path and not isinstance(body, dict):
            path = str(part)  # not of a JSON body: a query's or a form's field
    return path
