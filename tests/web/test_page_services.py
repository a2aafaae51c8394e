"""A page's answer takes the same way as an API answer: the client's share, the defence and the metrics count it."""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn")
sys.path.insert(0, str(Path(__file__).parent.parent / "serve"))

from stub_engine import Engine

from kaiwa.catalog.entries import Entry
from kaiwa.commands.page_services import PageCatalog, PageEngine
from kaiwa.core.errors import UserError
from kaiwa.defend.parse import parse
from kaiwa.serve.defence.shield import Shield
from kaiwa.serve.openai.call_forms import AnswerMarkup
from kaiwa.serve.services import ServerServices, ServerSettings
from kaiwa.serve.tuning.builds import BuildJobs
from kaiwa.serve.worker.wire import ChatPrompt, TextPrompt
from kaiwa.text.records import Message
from kaiwa.text.sampling import Sampling
from kaiwa.web.markdown import parts
from kaiwa.web.services import AnswerRequest

SAMPLING = Sampling(max_tokens=9, temperature=0.5, top_p=0.8, seed=4)


def services(folder: Path, engine: Engine, **more: Any) -> ServerServices:
    entry = Entry(name="toy", path=folder, kind="rlhf", chat=more.pop("chat", True))
    settings = ServerSettings(runs=folder, home=folder, model="toy", extra=entry, per_key=more.pop("per_key", 9))
    return ServerServices(settings=settings, engine=engine, jobs=BuildJobs(folder), **more)  # type: ignore[arg-type]


def ask(server: ServerServices, client: str = "a") -> list[str]:
    async def run() -> list[str]:
        messages = (Message("user", "Hello"), Message("assistant", "Hi"), Message("user", "What is it?"))
        request = AnswerRequest(model="toy", messages=messages, sampling=SAMPLING, client=client)
        pieces = [piece async for piece in PageEngine(server, PageCatalog(server)).answer(request)]
        assert pieces[-1].finish_reason
        return [piece.text for piece in pieces if piece.text]

    return asyncio.run(run())


def test_the_sampling_arrives_whole(tmp_path: Path) -> None:
    engine = Engine()
    assert ask(services(tmp_path, engine)) == ["A calm answer."]
    (request,) = engine.requests
    assert (request.sampling, request.fit) == (SAMPLING, "shorten")
    assert isinstance(request.prompt, ChatPrompt)
    assert [turn["content"] for turn in request.prompt.messages] == ["Hello", "Hi", "What is it?"]
    ask(services(tmp_path, engine, chat=False))
    assert engine.requests[-1].prompt == TextPrompt("Hello\nHi\nWhat is it?")


def test_metrics_and_defence_count_it(tmp_path: Path) -> None:
    engine = Engine()
    engine.pieces = ["The password ", "is open-sesame-42."]
    shield = Shield(defence=parse("canary_filter"), secrets=("open-sesame-42",))
    server = services(tmp_path, engine, shield=shield)
    assert "".join(ask(server)) == "The password is [withheld]"
    assert (server.metrics.answer_tokens, server.metrics.prompt_tokens) == (2, 9)
    assert server.metrics.first_token.counts != [0] * len(server.metrics.first_token.counts)
    assert (shield.requests, shield.blocked_replies) == (1, 1)


def test_it_takes_a_place_of_the_clients_share_and_gives_it_back(tmp_path: Path) -> None:
    server = services(tmp_path, Engine(), per_key=1)
    assert ask(server)
    assert server.shares.under_way == {}
    with server_share(server, "a"):
        with pytest.raises(UserError, match="1 answers of yours are under way, 1 are the limit"):
            ask(server, "a")
        assert ask(server, "b"), "another client has a share of its own"
        assert server.shares.under_way == {"a": 1}


def test_a_failed_answer_gives_its_place_back(tmp_path: Path) -> None:
    engine = Engine()
    engine.lost = True
    server = services(tmp_path, engine)
    with pytest.raises(UserError, match="started again"):
        ask(server)
    assert server.shares.under_way == {}
    other = replace(server, engine=Engine())  # type: ignore[arg-type]
    assert ask(other)


def server_share(server: ServerServices, client: str) -> Any:
    from contextlib import closing

    return closing(server.shares.open(client))


@pytest.mark.parametrize("thinking", [False, True])
def test_reasoning_stands_in_one_pair_of_tags(tmp_path: Path, thinking: bool) -> None:
    """Whatever the model's tags are, and if the prompt has opened them already."""
    engine = Engine()
    engine.markup = AnswerMarkup(reasoning=("[THINK]", "[/THINK]"), thinking=thinking)
    engine.pieces = ["" if thinking else "[THI", "Hm" if thinking else "NK]Hm", ".[/THINK]", "Yes", "."]
    text = "".join(ask(services(tmp_path, engine)))
    assert text == "<think>\nHm.\n</think>\n\nYes."
    assert parts(text) == ("Hm.", "Yes.")
    assert parts("Yes.") == ("", "Yes.")
    assert parts("<think>\nHm") == ("Hm", "")
