"""The server's own errors. Nothing else of the server is imported here, so that every part of it may raise them."""

from __future__ import annotations


class APIError(Exception):
    """An error for the client: HTTP status, message, code, and the request field at fault (param)."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param


class EngineRefused(APIError):
    """The engine process refused a request, or failed at it; the fields are those of its message."""


class EngineBusy(Exception):
    """Too many requests are under way already."""


class EngineLost(Exception):
    """The engine process ended while it had the request, or is not running yet."""
