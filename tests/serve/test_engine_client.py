"""The server's end of the engine's socket, with a scripted engine at the other end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from kaiwa.core.errors import UserError
from kaiwa.serve.exceptions import EngineBusy, EngineLost, EngineRefused
from kaiwa.serve.worker import wire
from kaiwa.serve.worker.client import EngineClient
from kaiwa.serve.worker.wire import Generate, ModelAddress, TextPrompt, Tokens

MODEL = ModelAddress(name="toy", path=Path("toy"))


def request(text: str = "a") -> Generate:
    return Generate(model=MODEL, prompt=TextPrompt(text))


class Far:
    """The engine's end: reads commands, writes messages."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.listening: asyncio.Task[None]

    async def next(self) -> Any:
        (command,) = wire.read_commands(await asyncio.wait_for(self.reader.readline(), 5))
        return command

    def say(self, *messages: Any) -> None:
        self.writer.write(wire.message_line(messages))


@contextlib.asynccontextmanager
async def connected(limit: int = 4) -> AsyncIterator[tuple[EngineClient, Far]]:
    import socket

    near, far = socket.socketpair()
    client = EngineClient(limit=limit)
    client._reader, writer = await asyncio.open_connection(sock=near, limit=1 << 20)
    client._writer = writer
    end = Far(*await asyncio.open_connection(sock=far))
    end.listening = asyncio.create_task(client._listen())
    try:
        yield client, end
    finally:
        end.listening.cancel()
        writer.close()
        end.writer.close()


def run(scene: Callable[[EngineClient, Far], Awaitable[None]], limit: int = 4) -> None:
    async def whole() -> None:
        async with connected(limit) as (client, far):
            await asyncio.wait_for(scene(client, far), 10)

    asyncio.run(whole())


def test_replies_find_their_requests() -> None:
    async def scene(client: EngineClient, far: Far) -> None:
        stream = client.generate(request("a"), request("b"))
        first = asyncio.ensure_future(anext(stream))
        a, b = await far.next(), await far.next()
        assert (a.prompt.text, b.prompt.text) == ("a", "b")
        assert a.id != b.id
        assert client.under_way == 2
        far.say(Tokens(id=b.id, text="B", n=1, finish="stop"), Tokens(id="999", text="nobody's", n=1))
        assert await first == (1, Tokens(id=b.id, text="B", n=1, finish="stop"))
        far.say(Tokens(id=a.id, text="A", n=1), wire.Failed(id=a.id, status=500, code="c", message="m"))
        rest = [(index, reply.kind) async for index, reply in stream]
        assert rest == [(0, "tokens"), (0, "failed")]
        assert client.under_way == 0

    run(scene)


def test_who_leaves_early_cancels_only_what_still_runs() -> None:
    async def scene(client: EngineClient, far: Far) -> None:
        stream = client.generate(request("a"), request("b"))
        first = asyncio.ensure_future(anext(stream))
        a, b = await far.next(), await far.next()
        far.say(Tokens(id=a.id, text="A", n=1, finish="stop"))
        await first
        await stream.aclose()
        assert await far.next() == wire.Cancel(id=b.id)
        assert client.under_way == 0

    run(scene)


def test_more_than_there_are_places() -> None:
    async def scene(client: EngineClient, far: Far) -> None:
        with pytest.raises(UserError, match="3 answers in one request; 2 may be under way"):
            await anext(client.generate(request(), request(), request()))
        stream = client.generate(request(), request())
        waiting = asyncio.ensure_future(anext(stream))
        await far.next()
        with pytest.raises(EngineBusy, match="2 requests are under way, 2 are the limit"):
            await anext(client.generate(request()))
        waiting.cancel()

    run(scene, limit=2)


def test_a_lost_engine_ends_every_request() -> None:
    async def scene(client: EngineClient, far: Far) -> None:
        stream = client.generate(request())
        waiting = asyncio.ensure_future(anext(stream))
        await far.next()
        for inbox in client._queues.values():
            inbox.put_nowait(None)  # what `_keep_alive` does
        with pytest.raises(EngineLost, match="ended under this request"):
            await waiting
        client._writer = None
        with pytest.raises(EngineLost, match="is being started"):
            await client.load(MODEL)

    run(scene)


def test_questions_have_typed_answers() -> None:
    async def scene(client: EngineClient, far: Far) -> None:
        texts = ["b" * 5000, "a", "c" * 5000, "aa"]
        asking = asyncio.ensure_future(client.embed(MODEL, list(map(TextPrompt, texts)), truncate=True))
        first, second = await far.next(), await far.next()
        assert [[len(p.text) for p in c.prompts] for c in (first, second)] == [[1, 2], [5000]], "by length, bounded"
        for command in (second, first, None):
            command = command or await far.next()
            assert command.truncate
            items = tuple(wire.Embedding(vector=(float(len(p.text)),), tokens=ord(p.text[0])) for p in command.prompts)
            far.say(wire.QuestionResult(id=command.id, value=wire.Embeddings(items=items)))
        vectors = [(embedding.vector[0], chr(embedding.tokens)) for embedding in await asking]
        assert vectors == [(5000, "b"), (1, "a"), (5000, "c"), (2, "a")], "in the order of the texts"
        asking_text = asyncio.ensure_future(client.detokenize(MODEL, [1, 2]))
        command = await far.next()
        assert command.tokens == (1, 2)
        far.say(wire.QuestionResult(id=command.id, value=wire.DecodedText(text="ab")))
        assert await asking_text == "ab"
        unloading = asyncio.ensure_future(client.unload(MODEL))
        command = await far.next()
        far.say(wire.Failed(id=command.id, status=409, code="model_busy", message="it is answering"))
        with pytest.raises(EngineRefused, match="it is answering") as caught:
            await unloading
        assert (caught.value.status, caught.value.code) == (409, "model_busy")

    run(scene)


def test_the_engines_state_is_kept() -> None:
    async def scene(client: EngineClient, far: Far) -> None:
        lines = [wire.Say(line=f"line {i}") for i in range(14)]
        far.say(wire.State(models={"toy": 5}, loading=("other",), requests=2, tokens_per_second=3.5), *lines)
        while len(client.state.notices) < 10 or client.state.notices[-1] != "line 13":
            await asyncio.sleep(0.01)
        assert client.state.notices == tuple(f"line {i}" for i in range(4, 14))
        shown = client.state.to_json()
        assert (shown["models"], shown["loading"], shown["requests"]) == ({"toy": 5}, ["other"], 2)
        assert shown["said"] == list(client.state.notices)

    run(scene)


def test_a_line_that_is_no_record_ends_the_connection() -> None:
    """As a crash does: the engine is then started again."""

    async def whole() -> None:
        async with connected() as (client, far):
            far.writer.write(b'[{"kind": "nonsense"}]\n')
            await asyncio.wait_for(far.listening, 5)
            assert client.state.models == {}

    asyncio.run(whole())


def test_a_server_that_stops_ends_its_answers_in_words() -> None:
    """Not with a broken connection, for which clients know no reason."""

    async def scene(client: EngineClient, far: Far) -> None:
        stream = client.generate(request())
        waiting = asyncio.ensure_future(anext(stream))
        sent = await far.next()
        client.end_answers()
        with pytest.raises(EngineLost, match="the server is being stopped"):
            await waiting
        assert await far.next() == wire.Cancel(id=sent.id)
        with pytest.raises(EngineLost, match="the server is being stopped"):
            await anext(client.generate(request()))

    run(scene)
