"""The pages over the real server: engine process, tiny random model, guard. One conversation through HTTP."""

import asyncio
import re
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

pytest.importorskip("uvicorn")

from kaiwa.commands.page_services import page_services
from kaiwa.serve.app import make_app
from kaiwa.serve.services import ServerServices, ServerSettings
from kaiwa.serve.tuning.builds import BuildJobs
from kaiwa.serve.worker.client import EngineClient
from kaiwa.web.pages import mount
from tests.running_server import make_model

CHAT = "toy/ppo"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    import uvicorn

    runs, home = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("home")
    make_model(runs / "toy" / "ppo", "rlhf", length=256)
    make_model(runs / "toy" / "base", "pretrain", length=256)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    settings = ServerSettings(runs=runs, home=home, port=port, model=CHAT)
    services = ServerServices(settings=settings, engine=EngineClient(limit=4), jobs=BuildJobs(runs))
    made = make_app(services)
    mount(made, page_services(services))
    server = uvicorn.Server(uvicorn.Config(made, log_level="warning", timeout_graceful_shutdown=2))
    server.capture_signals = __import__("contextlib").nullcontext  # type: ignore[method-assign]
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(15)
    assert not thread.is_alive()


def ended(url: str, message: str) -> str:
    for _ in range(600):
        html = httpx.get(f"{url}/chat/messages/{message}").text
        if 'data-state="streaming"' not in html:
            return html
        time.sleep(0.05)
    raise AssertionError("the answer never ended")


@pytest.mark.parametrize("model", [CHAT, "toy/base"])
def test_a_chat_through_the_real_engine(url: str, model: str) -> None:
    body = {"text": "the cat 猫", "model": model, "settings": {"max_tokens": 4000, "seed": 3, "temperature": 1.0}}
    sent = httpx.post(f"{url}/chat/send", json=body, timeout=30)
    assert sent.status_code == 200, sent.text
    html = ended(url, re.findall(r'id="m(\d+)"', sent.json()["html"])[-1])
    assert re.search(r'data-state="done"', html), html
    assert "tokens" in html


def count(url: str, name: str) -> float:
    text = httpx.get(f"{url}/metrics").text
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name + " "))


def test_a_pages_answer_counts_in_the_metrics(url: str) -> None:
    names = ("kaiwa_answer_tokens_total", "kaiwa_time_to_first_token_seconds_count", "kaiwa_prompt_tokens_total")
    before = [count(url, name) for name in names]
    body = {"text": "the cat", "model": CHAT, "settings": {"max_tokens": 40, "seed": 3, "temperature": 1.0}}
    sent = httpx.post(f"{url}/chat/send", json=body, timeout=30)
    html = ended(url, re.findall(r'id="m(\d+)"', sent.json()["html"])[-1])
    assert re.search(r'data-state="done"', html), html
    tokens, answers, prompt = (count(url, name) - then for name, then in zip(names, before, strict=True))
    assert (tokens, answers) == (40, 1)
    assert prompt > 0


def test_other_sites_are_refused(url: str) -> None:
    body = {"text": "x", "model": CHAT}
    assert httpx.post(f"{url}/chat/send", json=body, headers={"Origin": "http://evil.example"}).status_code == 403
    assert httpx.get(f"{url}/chat", headers={"Host": "evil.example"}).status_code == 403
    assert httpx.post(f"{url}/build/start", json={"recipe": "nope"}).status_code == 400


def test_errors_keep_the_servers_shape(url: str) -> None:
    answer = httpx.post(f"{url}/chat/send", json={"text": "x", "model": "nope"})
    assert answer.status_code == 400
    assert "no model 'nope'" in answer.json()["error"]["message"]
    page = httpx.get(f"{url}/models").text
    assert "toy/ppo" in page
