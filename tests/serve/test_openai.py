"""The official client is the judge of the protocol."""

import asyncio
import json

import httpx
import pytest

from tests.running_server import Running

openai = pytest.importorskip("openai")

CHAT = "toy/ppo"
MESSAGES = [{"role": "user", "content": "the cat"}]


@pytest.fixture(scope="module")
def client(server: Running) -> "openai.OpenAI":
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=60)


def test_models(client: "openai.OpenAI") -> None:
    listed = {model.id: model for model in client.models.list()}
    assert {"toy/ppo", "toy/base"} <= set(listed)
    assert listed["toy/ppo"].model_extra["kaiwa"]["chat"] is True
    assert listed["toy/base"].model_extra["kaiwa"]["chat"] is False
    assert listed["toy/ppo"].model_extra["kaiwa"]["starters"] == {"en": ["the cat"]}
    assert client.models.retrieve("toy/ppo").id == "toy/ppo"


def test_chat_whole(client: "openai.OpenAI") -> None:
    answer = client.chat.completions.create(
        model=CHAT, messages=MESSAGES, max_tokens=7, seed=3, n=2, logprobs=True, top_logprobs=2
    )
    assert [choice.index for choice in answer.choices] == [0, 1]
    first = answer.choices[0]
    assert first.message.role == "assistant"
    assert first.finish_reason == "length"
    assert len(first.logprobs.content) == 7
    assert len(first.logprobs.content[0].top_logprobs) == 2
    joined = b"".join(bytes(token.bytes) for token in first.logprobs.content)
    assert joined.decode(errors="replace").startswith(first.message.content)
    assert answer.usage.completion_tokens == 14
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 14
    again = client.chat.completions.create(model=CHAT, messages=MESSAGES, max_tokens=7, seed=3)
    assert again.choices[0].message.content == first.message.content
    assert answer.choices[1].message.content != first.message.content


def test_chat_stream_equals_whole(client: "openai.OpenAI") -> None:
    asked = {"model": CHAT, "messages": MESSAGES, "max_completion_tokens": 20, "temperature": 0}
    whole = client.chat.completions.create(**asked).choices[0].message.content
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert len({chunk.id for chunk in chunks}) == len({chunk.created for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[0].choices[0].delta.content == ""
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 20
    assert all(chunk.usage is None for chunk in chunks[:-1])
    reasons = [chunk.choices[0].finish_reason for chunk in chunks[:-1]]
    assert reasons == [None] * (len(reasons) - 1) + ["length"]
    assert chunks[-2].choices[0].delta.content is None
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == whole


def test_stream_bytes(server: Running) -> None:
    body = {"model": CHAT, "messages": MESSAGES, "max_tokens": 3, "stream": True, "odd_field": 1, "presence_penalty": 0}
    response = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["x-kaiwa-ignored"] == "odd_field"
    events = response.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert all('"finish_reason"' in event for event in events[:-2])


def test_stop_string(client: "openai.OpenAI") -> None:
    asked = {"model": CHAT, "messages": MESSAGES, "max_tokens": 60, "temperature": 0}
    whole = client.chat.completions.create(**asked).choices[0].message.content
    stop = whole[5:8]
    answer = client.chat.completions.create(**asked, stop=[stop, "never"]).choices[0]
    assert answer.finish_reason == "stop"
    assert answer.message.content == whole[: whole.find(stop)]


def test_completions_and_prompt_forms(client: "openai.OpenAI") -> None:
    asked = {"model": "toy/base", "max_tokens": 4, "temperature": 0}
    answer = client.completions.create(**asked, prompt=["the cat", "the dog"], n=2)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert answer.choices[0].text == answer.choices[1].text
    by_ids = client.completions.create(**asked, prompt=[[10, 11], [12]])
    assert len(by_ids.choices) == 2
    assert by_ids.usage.prompt_tokens == 3
    pieces = list(client.completions.create(**asked, prompt="the cat", stream=True, logprobs=1))
    assert "".join(chunk.choices[0].text for chunk in pieces) == answer.choices[0].text


def test_echo_gives_the_prompts_logprobs(client: "openai.OpenAI") -> None:
    ids = [20, 30, 40, 50]
    answer = client.completions.create(model="toy/base", prompt=ids, max_tokens=1, echo=True, logprobs=1, temperature=0)
    found = answer.choices[0].logprobs
    assert len(found.token_logprobs) == len(found.tokens) == len(found.text_offset) == 5
    assert found.token_logprobs[0] is None
    assert all(p < 0 for p in found.token_logprobs[1:])
    assert max(found.top_logprobs[-1].values()) == pytest.approx(found.token_logprobs[-1], abs=1e-4)
    none = client.completions.create(model="toy/base", prompt=ids, max_tokens=0, echo=True, logprobs=0)
    assert none.usage.completion_tokens == 0
    assert none.choices[0].logprobs.token_logprobs[1:] == pytest.approx(found.token_logprobs[1:4], abs=1e-4)


def test_many_at_once(server: Running) -> None:
    async def ask() -> None:
        client = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=60)

        async def one(i: int) -> str:
            stream = await client.chat.completions.create(
                model=CHAT, messages=MESSAGES, max_tokens=30 + i, seed=i % 3, stream=True
            )
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        answers = await asyncio.gather(*[one(i) for i in range(9)])
        for i in range(3):  # the same seed: the same text, however long, whoever else was there
            assert answers[i + 3].startswith(answers[i])
            assert answers[i + 6].startswith(answers[i + 3])

    asyncio.run(ask())


ERRORS = [
    ({"model": "toy/pp", "messages": MESSAGES}, 404, "model_not_found"),
    ({"model": "../../etc", "messages": MESSAGES}, 404, "model_not_found"),
    ({"model": "toy/base", "messages": MESSAGES}, 400, "not_a_chat_model"),
    ({"model": CHAT, "messages": []}, 400, "invalid_value"),
    ({"model": CHAT, "messages": MESSAGES, "temperature": 9}, 400, "invalid_value"),
    ({"model": CHAT, "messages": [{"role": "robot", "content": "x"}]}, 400, "invalid_value"),
    ({"model": CHAT, "messages": [{"role": "user", "content": "the cat " * 600}]}, 400, "context_length_exceeded"),
    ({"model": CHAT, "messages": MESSAGES, "max_tokens": 600}, 400, "context_length_exceeded"),
    ({"model": CHAT, "messages": MESSAGES, "n": 16}, 400, "invalid_value"),  # more than will ever be under way here
]


@pytest.mark.parametrize(("body", "status", "code"), ERRORS)
def test_errors(server: Running, body: dict, status: int, code: str) -> None:
    response = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    again = httpx.post(f"{server.url}/v1/chat/completions", json=body | {"stream": True}, timeout=60)
    assert (again.status_code, again.json()["error"]) == (status, error), "a stream's refusal is a status as well"


def test_a_full_queue(server: Running) -> None:
    long = {"model": "toy/long", "messages": MESSAGES, "max_tokens": 30_000, "n": 12, "stream": True}
    with httpx.stream("POST", f"{server.url}/v1/chat/completions", json=long, timeout=60) as response:
        lines = response.iter_lines()
        next(lines)
        for stream in (False, True):
            body = {"model": CHAT, "messages": MESSAGES, "max_tokens": 2, "stream": stream}
            refused = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)
            assert refused.status_code == 429
            assert refused.json()["error"]["code"] == "queue_full"
            assert refused.headers["retry-after"]
    server.wait(lambda: server.engine()["requests"] == 0, 5)


def test_a_refusal_after_the_stream_began_is_an_event(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that takes long to load: the stream begins without the engine's yes."""
    monkeypatch.setattr("kaiwa.serve.answers.follow_admitted.__defaults__", (0.0,))
    body = {"model": CHAT, "messages": MESSAGES, "max_tokens": 600, "stream": True}
    response = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)
    assert response.status_code == 200
    assert "context_length_exceeded" in response.text


def test_errors_of_routes(server: Running) -> None:
    for response, status in (
        (httpx.get(f"{server.url}/v1/nothing"), 404),
        (httpx.put(f"{server.url}/health"), 405),
        (httpx.post(f"{server.url}/v1/completions", content="{", headers={"content-type": "application/json"}), 400),
        (httpx.post(f"{server.url}/v1/completions", content=b"x" * (5 << 20)), 413),
    ):
        assert response.status_code == status
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_ends_its_answer(server: Running, stream: bool) -> None:
    """Left alone, these answers would take minutes."""
    body = {"model": "toy/long", "messages": MESSAGES, "max_tokens": 30_000, "n": 6, "stream": stream, "temperature": 0}
    with httpx.Client(timeout=httpx.Timeout(60, read=60 if stream else 2)) as client:
        if stream:
            with client.stream("POST", f"{server.url}/v1/chat/completions", json=body) as response:
                lines = response.iter_lines()  # kept: a collected iterator would close the stream
                next(lines)
                server.wait(lambda: server.engine()["requests"] > 0)
        else:
            with pytest.raises(httpx.ReadTimeout):
                client.post(f"{server.url}/v1/chat/completions", json=body)
    server.wait(lambda: server.engine()["requests"] == 0, 5)
    assert server.services.engine._queues == {}


def test_health(server: Running) -> None:
    assert httpx.get(f"{server.url}/health").json()["status"] == "ok"
    assert json.loads(httpx.get(f"{server.url}/api/engine").text)["state"] == "ready"
