"""The server's end of the engine process: starts it, hands requests over, notices when it dies, starts it again."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from kaiwa.catalog.entries import Entry
from kaiwa.core.errors import UserError

MEMORY_SHARE = 0.4  # of the machine's memory, for models
QUICK_DEATH = 10.0  # seconds: an engine that dies sooner than that is started again only after a pause
LINE_LIMIT = 1 << 26
LIMIT = 128  # requests under way; more are told to come again (429)


class EngineBusy(Exception):
    """Too many requests wait already."""


class EngineLost(Exception):
    """The engine process died under a request."""


class EngineRefused(Exception):
    """The engine's error message, as it came: status, code, message, param."""

    def __init__(self, said: dict[str, Any]) -> None:
        super().__init__(said["message"])
        self.said = said


@dataclass(slots=True)
class EngineState:
    """What the page's dot shows. state: "starting", "ready", "restarting", "stopped"."""

    state: str = "starting"
    models: dict[str, int] = field(default_factory=dict)  # name -> bytes
    loading: tuple[str, ...] = ()
    requests: int = 0
    tokens_per_second: float = 0.0
    restarts: int = 0
    said: tuple[str, ...] = ()  # lines about slower paths
    bytes_read: int = 0  # weights, by steps that gave tokens
    step_seconds: float = 0.0  # of these steps
    bandwidth: float = 0.0  # bytes a second that this machine reads, measured when the first model loads; 0: not yet

    def to_json(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "models": dict(self.models),
            "loading": list(self.loading),
            "requests": self.requests,
            "tokens_per_second": self.tokens_per_second,
            "restarts": self.restarts,
            "said": list(self.said),
        }

    def take(self, message: dict[str, Any]) -> None:
        """The engine's own word on how it is."""
        self.models, self.loading = message["models"], tuple(message["loading"])
        self.requests, self.tokens_per_second = message["requests"], message["tokens_per_second"]
        self.bytes_read, self.step_seconds = message["bytes_read"], message["step_seconds"]
        self.bandwidth = message["bandwidth"]


class EngineClient:
    """`start` it inside the event loop, `close` it at the end. `limit`: requests under way at once."""

    def __init__(self, *, limit: int = LIMIT, memory: int | None = None) -> None:
        self.limit = limit
        self.memory = memory or int(_machine_memory() * MEMORY_SHARE)
        self.state = EngineState()
        self.process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._queues: dict[str, asyncio.Queue[dict[str, Any]]] = {}
        self._numbers = itertools.count(1)
        self._watch: asyncio.Task[None] | None = None
        self._closing = False

    async def start(self) -> None:
        await self._spawn()
        self._watch = asyncio.create_task(self._keep_alive())

    async def close(self) -> None:
        self._closing = True
        self.state.state = "stopped"
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        if self._writer is not None:
            self._writer.close()  # the child ends when the socket does
        if self.process is not None:
            try:
                await asyncio.to_thread(self.process.wait, 5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                await asyncio.to_thread(self.process.wait)

    @property
    def under_way(self) -> int:
        """Requests that have not ended."""
        return len(self._queues)

    async def load(self, entry: Entry) -> None:
        """Asks for a model ahead of its first request."""
        await self._send({"op": "load", **entry.address()})

    async def unload(self, entry: Entry) -> int:
        """Lets go of a model or an adapter. -> bytes (0: it was not there). EngineRefused while it is answering."""
        (told,) = await self.ask({"op": "unload", **entry.address()})
        return int(told["bytes"])

    async def generate(self, *requests: dict[str, Any]) -> AsyncGenerator[tuple[int, dict[str, Any]], None]:
        """(which request, message) as they come, until each has ended with a finish or an error.

        EngineBusy when too many are under way; EngineLost when the process dies. Leaving the iterator early cancels.
        UserError for more requests than there are places.
        """
        if len(requests) > self.limit:
            raise UserError(f"{len(requests)} answers in one request; {self.limit} may be under way, so ask for fewer")
        if len(self._queues) + len(requests) > self.limit:
            raise EngineBusy(f"{len(self._queues)} requests are under way, {self.limit} are the limit")
        inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        ids = [str(next(self._numbers)) for _ in requests]
        for id in ids:
            self._queues[id] = inbox
        alive = dict(zip(ids, range(len(ids)), strict=True))
        try:
            for id, request in zip(ids, requests, strict=True):
                await self._send({"op": "generate", **request, "id": id})
            while alive:
                message = await inbox.get()
                if message["kind"] == "lost":
                    raise EngineLost("the engine process ended under this request; it is being started again")
                index = alive[message["id"]]
                if message["kind"] == "error" or message.get("finish") is not None:
                    del alive[message["id"]]
                yield index, message
        finally:
            for id in ids:
                self._queues.pop(id, None)
            for id in alive:
                with contextlib.suppress(EngineLost):
                    await self._send({"op": "cancel", "id": id})

    async def ask(self, *questions: dict[str, Any]) -> list[Any]:
        """What the engine knows beside answers ("op": embed, tokenize, detokenize, tokenizer): one value each.

        EngineRefused when it says no.
        """
        values: list[Any] = [None] * len(questions)
        async with contextlib.aclosing(self.generate(*questions)) as stream:
            async for index, message in stream:
                if message["kind"] == "error":
                    raise EngineRefused(message)
                if message["kind"] == "result":
                    values[index] = message["value"]
        return values

    async def _send(self, message: dict[str, Any]) -> None:
        if self._writer is None or self._writer.is_closing():
            raise EngineLost("the engine process is being started; try again in a moment")
        self._writer.write(json.dumps(message).encode() + b"\n")
        try:
            await self._writer.drain()
        except ConnectionError:
            raise EngineLost("the engine process ended; it is being started again") from None

    async def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        environment = os.environ | {
            "OMP_WAIT_POLICY": "PASSIVE",  # a spinning pool would take the cores from a build, and lose them to it
            "KMP_BLOCKTIME": "0",
            "GOMP_SPINCOUNT": "0",
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        }
        command = [sys.executable, "-m", "kaiwa.serve.worker.process", str(theirs.fileno())]
        self.process = subprocess.Popen(
            [*command, str(self.memory)], pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL
        )
        theirs.close()
        self._reader, self._writer = await asyncio.open_connection(sock=ours, limit=LINE_LIMIT)
        self.state.state = "ready"

    async def _keep_alive(self) -> None:
        while not self._closing:
            born = time.monotonic()
            await self._listen()
            if self._closing:
                return
            self.state.state, self.state.models, self.state.loading = "restarting", {}, ()
            self.state.requests, self.state.tokens_per_second = 0, 0.0
            self.state.restarts += 1
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.close()
            for inbox in set(self._queues.values()):
                inbox.put_nowait({"kind": "lost"})
            if self.process is not None:
                self.process.kill()
                await asyncio.to_thread(self.process.wait)
            if time.monotonic() - born < QUICK_DEATH:
                await asyncio.sleep(1.0)
            await self._spawn()

    async def _listen(self) -> None:
        """Hands messages to their requests until the process is gone."""
        while True:
            try:
                line = await self._reader.readline()
            except (ConnectionError, ValueError):
                return
            if not line:
                return
            for message in json.loads(line):
                if message["kind"] == "state":
                    self.state.take(message)
                elif message["kind"] == "say":
                    self.state.said = (*self.state.said[-9:], message["line"])
                elif (inbox := self._queues.get(message["id"])) is not None:
                    inbox.put_nowait(message)


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
