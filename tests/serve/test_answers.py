"""The one way to an answer, over a stub engine: what becomes a status, what is counted, what is given back."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn")

from stub_engine import Engine

from kaiwa.serve import answers
from kaiwa.serve.exceptions import APIError, EngineRefused
from kaiwa.serve.http.rate_limit import AnswerShares
from kaiwa.serve.services import ServerServices, ServerSettings
from kaiwa.serve.tuning.builds import BuildJobs
from kaiwa.serve.worker.wire import Admitted, Failed, Generate, ModelAddress, Reply, Started, TextPrompt, Tokens
from kaiwa.text.sampling import Sampling

MODEL = ModelAddress(name="toy", path=Path("toy"))


class Scripted(Engine):
    """Yields the replies of a script; None waits until `gate` is open."""

    def __init__(self, script: list[tuple[int, Reply] | None]) -> None:
        super().__init__()
        self.script, self.gate, self.left_early = script, asyncio.Event(), False

    async def generate(self, *requests: Generate) -> AsyncGenerator[tuple[int, Reply], None]:
        self.requests += requests
        try:
            for item in self.script:
                if item is None:
                    await self.gate.wait()
                else:
                    yield item
        except GeneratorExit:
            self.left_early = True
            raise


def services(folder: Path, engine: Engine) -> ServerServices:
    settings = ServerSettings(runs=folder, home=folder, per_key=5)
    return ServerServices(settings=settings, engine=engine, jobs=BuildJobs(folder))  # type: ignore[arg-type]


def requests(n: int) -> list[Generate]:
    request = Generate(model=MODEL, prompt=TextPrompt("a"), sampling=Sampling(seed=7))
    return answers.for_each_choice(request, [request.prompt], n)


def test_choices_of_one_prompt_differ_by_their_seed_only() -> None:
    first = Generate(model=MODEL, prompt=TextPrompt("a"), sampling=Sampling(seed=7, top_k=3), logprobs=2)
    found = answers.for_each_choice(first, [TextPrompt("a"), TextPrompt("b")], 2)
    assert [(r.prompt, r.sampling) for r in found] == [
        (TextPrompt(text), Sampling(seed=seed, top_k=3)) for text in "ab" for seed in (7, 8)
    ]
    assert {(r.model, r.logprobs) for r in found} == {(MODEL, 2)}


def test_collected_answers_are_in_the_order_of_the_requests(tmp_path: Path) -> None:
    script: list[Any] = [
        (1, Started(prompt_tokens=3, cached=1)),
        (0, Started(prompt_tokens=3)),
        (1, Tokens(text="second", n=2, finish="stop")),
        (0, Tokens(text="fir", n=1)),
        (0, Tokens(text="st", n=1, finish="length")),
    ]
    server = services(tmp_path, Scripted(script))
    choices = asyncio.run(answers.collect(server, requests(2)))
    assert [(c.text, c.n_tokens, c.finish, c.cached) for c in choices] == [
        ("first", 2, "length", 0),
        ("second", 2, "stop", 1),
    ]
    assert (server.metrics.prompt_tokens, server.metrics.cached_tokens, server.metrics.answer_tokens) == (6, 1, 4)


def test_a_refusal_is_raised_before_the_stream_begins(tmp_path: Path) -> None:
    script: list[Any] = [(0, Admitted()), (1, Failed(status=400, code="c", message="too long", param="messages"))]

    async def run() -> None:
        with pytest.raises(EngineRefused) as caught:
            await answers.follow_admitted(services(tmp_path, Scripted(script)), requests(2))
        error = caught.value
        assert (error.status, error.code, error.param, str(error)) == (400, "c", "messages", "too long")

    asyncio.run(run())


def test_admissions_are_no_events_and_nothing_is_lost(tmp_path: Path) -> None:
    """What came while the stream waited for the second admission is there, in order."""
    script: list[Any] = [
        (0, Admitted()),
        (0, Started(prompt_tokens=1)),
        (0, Tokens(text="x", n=1, finish="stop")),
        (1, Admitted()),
        (1, Started(prompt_tokens=1)),
        (1, Tokens(text="y", n=1, finish="stop")),
    ]

    async def run() -> list[tuple[int, str]]:
        events = (await answers.follow_admitted(services(tmp_path, Scripted(script)), requests(2))).events
        return [(event.index, event.reply.kind) async for event in events]

    assert asyncio.run(run()) == [(0, "started"), (0, "tokens"), (1, "started"), (1, "tokens")]


def test_a_slow_admission_does_not_hold_the_stream(tmp_path: Path) -> None:
    """The stream begins without it, and a refusal that comes later is raised inside."""

    async def run() -> None:
        engine = Scripted([None, (0, Failed(status=404, code="gone", message="no model", param=None))])
        events = (await answers.follow_admitted(services(tmp_path, engine), requests(1), None, 0.01)).events
        engine.gate.set()
        with pytest.raises(EngineRefused, match="no model"):
            await anext(events)

    asyncio.run(run())


def test_a_stream_that_is_left_cancels_and_is_counted(tmp_path: Path) -> None:
    script: list[Any] = [(0, Started(prompt_tokens=1)), (0, Tokens(text="x", n=1)), None]

    async def run() -> None:
        engine = Scripted(script)
        server = services(tmp_path, engine)
        events = answers.follow(server, requests(1))
        await anext(events)
        await events.aclose()
        assert engine.left_early
        assert server.metrics.cancelled == 1

    asyncio.run(run())


def test_a_share_must_hold_all_answers(tmp_path: Path) -> None:
    engine = Engine()
    server = services(tmp_path, engine)
    share = server.shares.open("a")
    with pytest.raises(APIError, match="6 answers in one request"):
        asyncio.run(answers.collect(server, requests(6), share))
    assert engine.requests == []
    assert len(asyncio.run(answers.collect(server, requests(5), share))) == 5
    assert server.shares.under_way == {"a": 5}, "until the request ends"
    share.close()
    assert server.shares.under_way == {}


def test_shares_of_one_client_add_up() -> None:
    shares = AnswerShares(3)
    first, second = shares.open("a"), shares.open("a")
    first.take(1)
    with pytest.raises(APIError) as caught:
        second.take(1)
    assert (caught.value.status, caught.value.code) == (429, "too_many_requests")
    with pytest.raises(APIError) as caught:
        second.take(3)
    assert caught.value.status == 400, "four never fit"
    first.close()
    second.take(2)
    assert shares.under_way == {"a": 3}
    second.close()
    assert shares.under_way == {}
