"""The server's client of the engine process: starts the process, hands requests over, and restarts a dead process."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from kaiwa.core.errors import UserError
from kaiwa.serve.exceptions import EngineBusy, EngineLost, EngineRefused
from kaiwa.serve.http.bounded_json import JSONObject
from kaiwa.serve.worker.wire import (
    Cancel,
    Command,
    DecodedText,
    DescribeTokenizer,
    Detokenize,
    Embed,
    Embedding,
    Embeddings,
    Failed,
    Load,
    ModelAddress,
    ModelRequest,
    QuestionResult,
    Reply,
    Say,
    State,
    TextPrompt,
    TokenIds,
    Tokenize,
    TokenizerInfo,
    TokenPrompt,
    Unload,
    Unloaded,
    Value,
    command_line,
    has_ended,
    read_messages,
)

MEMORY_SHARE = 0.4  # of the machine's memory, for models
QUICK_DEATH = 10.0  # seconds: an engine that ends sooner than that is started again only after a pause
CLOSE_SECONDS = 5.0
LINE_LIMIT = 1 << 26  # bytes
EMBED_AT_ONCE = 2  # questions of one request, so that the engine need not wait for the next
BATCH_TEXTS, BATCH_LENGTH = 32, 8192  # of one question: texts, and characters or ids; others wait while it is answered
LIMIT = 128  # requests under way; more are refused (429)
MOST_NOTICES = 10
ENDED = "the engine process ended under this request; it is being started again"
STOPPING = "the server is being stopped; this answer ends here"

V = TypeVar("V", bound=Value)


@dataclass(slots=True)
class EngineState:
    """The engine's state for pages and metrics. state: "starting", "ready", "restarting", "stopped"."""

    state: str = "starting"
    models: dict[str, int] = field(default_factory=dict)  # name -> bytes
    computing: dict[str, str] = field(default_factory=dict)  # name -> "C++ step", "PyTorch", or "PyTorch, for now"
    loading: tuple[str, ...] = ()
    requests: int = 0
    tokens_per_second: float = 0.0
    restarts: int = 0
    notices: tuple[str, ...] = ()  # lines about slower paths
    bytes_read: int = 0  # weights, by steps that gave tokens
    step_seconds: float = 0.0  # of these steps
    bandwidth: float = 0.0  # bytes per second that this machine reads, measured when the first model loads; 0: not yet

    def to_json(self) -> JSONObject:
        return {
            "state": self.state,
            "models": dict(self.models),
            "computing": dict(self.computing),
            "loading": list(self.loading),
            "requests": self.requests,
            "tokens_per_second": self.tokens_per_second,
            "restarts": self.restarts,
            "said": list(self.notices),
        }

    def update(self, state: State) -> None:
        """Take over a report of the engine process."""
        self.models, self.computing, self.loading = state.models, state.computing, state.loading
        self.requests, self.tokens_per_second = state.requests, state.tokens_per_second
        self.bytes_read, self.step_seconds = state.bytes_read, state.step_seconds
        self.bandwidth = state.bandwidth


class EngineClient:
    """The client: call `start` inside the event loop and `close` at the end. `limit`: requests under way at once.

    All requests raise EngineBusy when too many are under way, and EngineLost when the process ends or is not running.
    """

    def __init__(self, *, limit: int = LIMIT, memory: int | None = None) -> None:
        self.limit = limit
        self.memory = memory or int(_machine_memory() * MEMORY_SHARE)
        self.state = EngineState()
        self.process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._queues: dict[str, asyncio.Queue[Reply | None]] = {}  # None: the process has ended
        self._numbers = itertools.count(1)
        self._watch: asyncio.Task[None] | None = None
        self._closing = False
        self.stopping = False  # the server stops: no request is taken any more

    async def start(self) -> None:
        await self._spawn()
        self._watch = asyncio.create_task(self._keep_alive())

    def end_answers(self) -> None:
        """End every request with EngineLost, since the server stops, and take no more.

        So streams end with an error event that their clients understand, not with a broken connection.
        """
        self.stopping = True
        for inbox in set(self._queues.values()):
            inbox.put_nowait(None)

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
                await asyncio.to_thread(self.process.wait, CLOSE_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                await asyncio.to_thread(self.process.wait)

    @property
    def under_way(self) -> int:
        """Number of unfinished requests."""
        return len(self._queues)

    async def load(self, model: ModelAddress) -> None:
        """Ask for a model ahead of its first request."""
        await self._send(Load(model=model))

    async def unload(self, model: ModelAddress) -> int:
        """Drop a model or an adapter and return its bytes (0: not in memory). EngineRefused while in use."""
        (unloaded,) = await self._ask([Unload(model=model)], Unloaded)
        return unloaded.bytes

    async def embed(
        self,
        model: ModelAddress,
        prompts: Sequence[TextPrompt | TokenPrompt],
        *,
        truncate: bool | None = None,
        prompt_name: str | None = None,
        input_type: str | None = None,
    ) -> list[Embedding]:
        """Return an embedding per prompt. EngineRefused for a prompt longer than the context that may not be cut.

        Prompts of a similar length go together. A long list has one place: it is not refused half way.
        """
        self._check_places(1)
        batches = embed_batches(prompts)
        embeddings: dict[int, Embedding] = {}
        for start in range(0, len(batches), EMBED_AT_ONCE):
            group = batches[start : start + EMBED_AT_ONCE]
            questions = [
                Embed(
                    model=model,
                    prompts=tuple(prompts[index] for index in batch),
                    truncate=truncate,
                    prompt_name=prompt_name,
                    input_type=input_type,
                )
                for batch in group
            ]
            for batch, answer in zip(group, await self._answers(questions, Embeddings), strict=True):
                embeddings |= zip(batch, answer.items, strict=True)
        return [embeddings[index] for index in range(len(prompts))]

    async def tokenize(self, questions: Sequence[Tokenize]) -> list[TokenIds]:
        """Return the token ids of each prompt. EngineRefused for a prompt refused by the model's template."""
        return await self._ask(questions, TokenIds)

    async def detokenize(self, model: ModelAddress, tokens: Sequence[int]) -> str:
        """Return the text of token ids; special tokens have none. EngineRefused for an unknown id."""
        (decoded,) = await self._ask([Detokenize(model=model, tokens=tuple(tokens))], DecodedText)
        return decoded.text

    async def describe_tokenizer(self, model: ModelAddress) -> TokenizerInfo:
        (info,) = await self._ask([DescribeTokenizer(model=model)], TokenizerInfo)
        return info

    async def generate(self, *requests: ModelRequest) -> AsyncGenerator[tuple[int, Reply], None]:
        """Yield (index of the request, reply) as replies come, until every request has ended.

        Leaving the iterator early cancels the unfinished requests. UserError for more requests than there are places.
        """
        self._check_places(len(requests))
        async with contextlib.aclosing(self._exchange(requests)) as replies:
            async for index, reply in replies:
                yield index, reply

    def _check_places(self, n: int) -> None:
        if n > self.limit:
            raise UserError(f"{n} answers in one request; {self.limit} may be under way, so ask for fewer")
        if len(self._queues) + n > self.limit:
            raise EngineBusy(f"{len(self._queues)} requests are under way, {self.limit} are the limit")

    async def _exchange(self, requests: Sequence[ModelRequest]) -> AsyncGenerator[tuple[int, Reply], None]:
        """Yield replies as `generate` does, without a look at the places."""
        inbox: asyncio.Queue[Reply | None] = asyncio.Queue()
        ids = [str(next(self._numbers)) for _ in requests]
        for id in ids:
            self._queues[id] = inbox
        alive = dict(zip(ids, range(len(ids)), strict=True))
        try:
            for id, request in zip(ids, requests, strict=True):
                await self._send(replace(request, id=id))
            while alive:
                reply = await inbox.get()
                if reply is None:
                    raise EngineLost(STOPPING if self.stopping else ENDED)
                index = alive[reply.id]
                if has_ended(reply):
                    del alive[reply.id]
                yield index, reply
        finally:
            for id in ids:
                self._queues.pop(id, None)
            for id in alive:
                with contextlib.suppress(EngineLost):
                    await self._send(Cancel(id=id))

    async def _ask(self, questions: Sequence[ModelRequest], kind: type[V]) -> list[V]:
        """Return a value of the given kind per question. EngineRefused if any question is refused."""
        self._check_places(len(questions))
        return await self._answers(questions, kind)

    async def _answers(self, questions: Sequence[ModelRequest], kind: type[V]) -> list[V]:
        values: dict[int, V] = {}
        async with contextlib.aclosing(self._exchange(questions)) as stream:
            async for index, reply in stream:
                if isinstance(reply, Failed):
                    raise EngineRefused(reply.status, reply.message, reply.code, reply.param)
                if isinstance(reply, QuestionResult):
                    assert isinstance(reply.value, kind)
                    values[index] = reply.value
        return [values[index] for index in range(len(questions))]

    async def _send(self, command: Command) -> None:
        if self.stopping and not isinstance(command, Cancel):
            raise EngineLost(STOPPING)
        if self._writer is None or self._writer.is_closing():
            raise EngineLost("the engine process is being started; try again in a moment")
        self._writer.write(command_line([command]))
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
        """Read from the process; whenever the process ends, end its requests with EngineLost and start another."""
        while not self._closing:
            started = time.monotonic()
            await self._listen()
            if self._closing:
                return
            self.state.state, self.state.models, self.state.computing = "restarting", {}, {}
            self.state.loading = ()
            self.state.requests, self.state.tokens_per_second = 0, 0.0
            self.state.restarts += 1
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.close()
            for inbox in set(self._queues.values()):
                inbox.put_nowait(None)
            if self.process is not None:
                self.process.kill()
                await asyncio.to_thread(self.process.wait)
            if time.monotonic() - started < QUICK_DEATH:
                await asyncio.sleep(1.0)
            await self._spawn()

    async def _listen(self) -> None:
        """Hand replies to their requests until the process is gone."""
        while True:
            try:
                line = await self._reader.readline()
                messages = read_messages(line) if line else []
            except (ConnectionError, ValueError):
                return
            if not line:
                return
            for message in messages:
                if isinstance(message, State):
                    self.state.update(message)
                elif isinstance(message, Say):
                    self.state.notices = (*self.state.notices[1 - MOST_NOTICES :], message.line)
                elif (inbox := self._queues.get(message.id)) is not None:
                    inbox.put_nowait(message)


def embed_batches(prompts: Sequence[TextPrompt | TokenPrompt]) -> list[list[int]]:
    """Return the indices of prompts that are embedded together, the short ones first."""
    lengths = [len(prompt.text if isinstance(prompt, TextPrompt) else prompt.ids) for prompt in prompts]
    batches: list[list[int]] = []
    for index in sorted(range(len(prompts)), key=lambda i: lengths[i]):
        last = batches[-1] if batches else []
        if not last or len(last) == BATCH_TEXTS or (len(last) + 1) * lengths[index] > BATCH_LENGTH:
            batches.append([])
        batches[-1].append(index)
    return batches


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
