"""Each named key's own conversations: a database of its own, so that no query can show another's.

The server's guard says which key a request came with. Requests with the API key, the admin key or none share the
database that was there before keys had names.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from kaiwa.feedback.store import FILE, Store
from kaiwa.web.answers import AnswersInProgress
from kaiwa.web.services import Answerer

NAMED = re.compile(r"key ([a-z0-9][a-z0-9_-]{0,39})")  # as the server's guard calls clients with a named key
FOLDER = "keys"  # under KAIWA_HOME
_client: ContextVar[str] = ContextVar("client", default="")


class ClientScope:
    """ASGI middleware that remembers a request's client while the request is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        token = _client.set(str(scope.get("kaiwa.who") or ""))
        try:
            await self.app(scope, receive, send)
        finally:
            _client.reset(token)


class KeyChats:
    """The conversations and the answers in progress of every key, opened when the key is first used."""

    def __init__(self, home: Path, engine: Answerer) -> None:
        self.home, self.engine = home, engine
        self._opened: dict[str, tuple[Store, AnswersInProgress]] = {}
        self._open("")

    @property
    def store(self) -> Store:
        """The conversations of the key that the request at hand came with."""
        return self._open(self._name())[0]

    @property
    def answers(self) -> AnswersInProgress:
        """The answers in progress of the same key."""
        return self._open(self._name())[1]

    def _name(self) -> str:
        match = NAMED.fullmatch(_client.get())
        return match[1] if match is not None else ""

    def _open(self, name: str) -> tuple[Store, AnswersInProgress]:
        if name not in self._opened:
            folder = self.home / FOLDER / name if name else self.home
            store = Store(folder / FILE)
            self._opened[name] = store, AnswersInProgress(store, self.engine)
        return self._opened[name]

    async def end_answers(self) -> None:
        for _, answers in self._opened.values():
            await answers.close()

    def close(self) -> None:
        for store, _ in self._opened.values():
            store.close()
