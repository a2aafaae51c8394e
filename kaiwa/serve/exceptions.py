"""The server's own errors. Nothing else of the server is imported here, so every part may raise the errors."""

from __future__ import annotations


class APIError(Exception):
    """An error for the client: HTTP status, message, code, and the request field at fault (param)."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param


class EngineRefused(APIError):
    """The engine process refused or failed a request; the fields are copied from its message."""


class EngineBusy(Exception):
    """Too many requests are under way already."""


class EngineLost(Exception):
    """The engine process ended during the request, or is not running yet."""
