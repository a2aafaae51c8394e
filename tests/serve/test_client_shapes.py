"""What clients send, as they send it, and names that uploads bring: over the routes alone, without an engine."""

import contextlib
import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("uvicorn")

from fastapi.testclient import TestClient
from stub_engine import Engine

from kaiwa.catalog.entries import Entry
from kaiwa.serve.app import make_app
from kaiwa.serve.openai.call_forms import AnswerMarkup
from kaiwa.serve.services import ServerServices, ServerSettings
from kaiwa.serve.tuning.builds import BuildJobs

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
# Requests as the clients' own code builds them (fields and nulls as they are; texts are ours).
OPEN_WEBUI_CHAT = {
    "stream": True,
    "model": "toy",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
    "stream_options": {"include_usage": True},
    "params": {},
    "features": {"web_search": False, "image_generation": False},
    "metadata": {"chat_id": "a", "message_id": "b"},
    "session_id": "c",
    "user": {"name": "Someone", "id": "1", "email": "a@example.org", "role": "user"},
}
OPEN_WEBUI_TITLE = {
    "model": "toy",
    "messages": [{"role": "user", "content": "### Task:\nGenerate a concise title."}],
    "stream": False,
    "max_completion_tokens": 1000,
    "metadata": {"task": "title_generation", "task_body": {"model": "toy"}},
}
LANGCHAIN_CHAT = {
    "messages": [{"content": [{"type": "text", "text": "Hello"}], "role": "user", "name": "someone"}],
    "model": "toy",
    "n": 1,
    "stream": False,
    "temperature": 0.7,
    "max_completion_tokens": None,
    "stop": None,
    "logprobs": None,
    "parallel_tool_calls": True,
    "tools": [WEATHER],
    "tool_choice": "auto",
}
CALLED = {"name": "get_weather", "arguments": '{"city": "Kyoto"}'}
LANGCHAIN_AGENT = {
    "messages": [
        {"role": "user", "content": "Weather in Kyoto?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"type": "function", "id": "call_1", "function": CALLED}],
        },
        {"role": "tool", "content": "sunny", "tool_call_id": "call_1"},
    ],
    "model": "toy",
    "stream": True,
    "tools": [WEATHER],
}  # fmt: skip
LANGCHAIN_EMBEDDING = {"input": [[104, 105]], "model": "toy", "encoding_format": "base64"}


PREFILLED = [{"role": "user", "content": "Name a day."}, {"role": "assistant", "content": "It is Tues"}]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    entry = Entry(name="toy", path=tmp_path, kind="rlhf", chat=True)
    settings = ServerSettings(runs=tmp_path, home=tmp_path, model="toy", extra=entry, port=80)
    services = ServerServices(settings=settings, engine=Engine(), jobs=BuildJobs(tmp_path))  # type: ignore[arg-type]
    app = make_app(services)
    app.state.engine = services.engine
    with TestClient(app, base_url="http://localhost:80") as found:
        yield found


@pytest.mark.parametrize("body", [OPEN_WEBUI_CHAT, OPEN_WEBUI_TITLE, LANGCHAIN_CHAT, LANGCHAIN_AGENT])
def test_chats_as_clients_send_them(client: TestClient, body: dict[str, Any]) -> None:
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    if not body["stream"]:
        assert answer.json()["choices"][0]["message"]["content"] == "A calm answer."
        return
    chunks = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    assert "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"]) == "A calm answer."
    assert answer.text.endswith("data: [DONE]\n\n")
    assert (chunks[-1]["choices"] == []) == ("stream_options" in body), "usage comes last where it was asked for"


def test_fields_of_theirs_that_do_nothing_are_named(client: TestClient) -> None:
    ignored = client.post("/v1/chat/completions", json=OPEN_WEBUI_CHAT).headers["x-kaiwa-ignored"]
    assert ignored == "features, params, session_id"


def test_the_model_list_has_what_clients_look_for(client: TestClient) -> None:
    found = client.get("/v1/models").json()
    assert found["object"] == "list"
    assert all({"id", "object", "created", "owned_by"} <= set(model) for model in found["data"])


HOSTILE = {
    "../../etc/passwd": "passwd",
    "..\\..\\windows\\system.ini": "system.ini",
    "/abs/olute.jsonl": "olute.jsonl",
    "..": "file",
    ".": "file",
    "a/..": "file",
    "a\x00b.jsonl": "ab.jsonl",
    "x\r\nSet-Cookie: a=b": "xSet-Cookie: a=b",
    "\x1b[31mred": "[31mred",
    '<script>alert(1)</script>"': 'script>"',
    "名前\u202ejsonl.exe": "名前jsonl.exe",
    "n" * 5000: "n" * 200,
    ".meta.json": ".meta.json",
}


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:24])
def test_names_of_uploads_are_only_labels(client: TestClient, tmp_path: Path, name: str) -> None:
    """No name chooses a path, splits a header, or reaches a terminal as anything but text."""
    from kaiwa.serve.tuning.uploaded_files import UploadedFiles

    before = set(tmp_path.rglob("*"))
    with open(tmp_path / "rows.jsonl", "w+b") as source:
        source.write(b'{"a": 1}\n')
        source.seek(0)
        made = UploadedFiles(tmp_path / "files").add(name, "fine-tune", source)
    assert made.filename == HOSTILE[name]
    new = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} - {
        str(p.relative_to(tmp_path)) for p in before
    }
    assert new == {"rows.jsonl", "files", f"files/{made.id}", f"files/{made.id}/data", f"files/{made.id}/meta.json"}
    answer = client.get(f"/v1/files/{made.id}/content")
    assert answer.content == b'{"a": 1}\n'
    assert answer.headers["content-disposition"].startswith("attachment; filename")
    assert "set-cookie" not in answer.headers


def test_a_hostile_name_over_http(client: TestClient, tmp_path: Path) -> None:
    sent = {"file": ("../../up.jsonl", b'{"a": 1}\n')}
    made = client.post("/v1/files", files=sent, data={"purpose": "fine-tune"})
    assert made.status_code == 200, made.text
    assert made.json()["filename"] == "up.jsonl"
    assert not (tmp_path.parent / "up.jsonl").exists()


def test_one_key_has_its_share_and_no_more(tmp_path: Path) -> None:
    """Streams count until they end; other keys, and what is no answer, go on."""
    import asyncio

    from kaiwa.serve.http.rate_limit import AnswerShares, ShareLimit
    from kaiwa.serve.http.security import CLIENT

    gate = asyncio.Event()
    entered: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        entered.append(scope["path"])
        await gate.wait()
        if scope["path"] == "/v1/responses":
            raise ConnectionError

    async def ask(limit: ShareLimit, who: str, path: str = "/v1/chat/completions", method: str = "POST") -> list[Any]:
        told: list[Any] = []

        async def send(message: Any) -> None:
            told.append(message)

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"{}"}

        scope = {"type": "http", "method": method, "path": path, "headers": [], "client": ("10.0.0.1", 1), CLIENT: who}
        with contextlib.suppress(ConnectionError):
            await limit(scope, receive, send)
        return told

    async def run() -> None:
        shares = AnswerShares(2)
        limit = ShareLimit(app, shares=shares)
        held = [asyncio.create_task(ask(limit, "a", path)) for path in ("/v1/chat/completions", "/v1/responses")]
        await asyncio.sleep(0)
        refused = await ask(limit, "a")
        assert refused[0]["status"] == 429
        assert (b"retry-after", b"2") in refused[0]["headers"]
        assert json.loads(refused[1]["body"])["error"]["code"] == "too_many_requests"
        others = [("b", "/v1/chat/completions", "POST"), ("a", "/v1/models", "GET"), ("", "/v1/completions", "POST")]
        held += [asyncio.create_task(ask(limit, *one)) for one in others]
        await asyncio.sleep(0)
        assert len(entered) == 5
        assert shares.under_way == {"a": 2, "b": 1, "10.0.0.1": 1}
        gate.set()
        assert await asyncio.gather(*held) == [[]] * 5
        assert shares.under_way == {}, "also what failed has ended"

    asyncio.run(run())


def test_a_share_counts_answers(tmp_path: Path) -> None:
    """Not requests: n, prompts and inputs take a place each, and are given back with the request."""
    import asyncio

    from kaiwa.catalog.entries import Entry
    from kaiwa.serve.app import make_app
    from kaiwa.serve.worker.wire import Generate

    class Held(Engine):
        """Answers when the gate is open."""

        async def generate(self, *requests: Generate) -> Any:
            entered.append(len(requests))
            await gate.wait()
            async for item in super().generate(*requests):
                yield item

    gate = asyncio.Event()
    entered: list[int] = []
    entry = Entry(name="toy", path=tmp_path, kind="rlhf", chat=True)
    base = ServerSettings(runs=tmp_path, home=tmp_path, model="toy", extra=entry, port=80, per_key=6)
    app = make_app(ServerServices(settings=base, engine=Held(), jobs=BuildJobs(tmp_path)))  # type: ignore[arg-type]
    talk = {"model": "toy", "messages": [{"role": "user", "content": "a"}]}
    texts = {"model": "toy", "prompt": ["a", "b"]}

    async def run() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:80") as client:

            async def ask(path: str, body: dict[str, Any]) -> httpx.Response:
                return await client.post(f"/v1/{path}", json=body)

            held = [asyncio.create_task(ask("completions", texts | {"n": 2}))]
            while not entered:
                await asyncio.sleep(0.01)
            more = ("chat/completions", talk | {"n": 3}), ("completions", texts | {"n": 2, "stream": True})
            for path, body in more:
                refused = await ask(path, body)
                assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_requests"), path
                assert refused.headers["retry-after"] == "2"
            never = await ask("completions", texts | {"n": 4})
            assert (never.status_code, never.json()["error"]["code"]) == (400, "invalid_value"), "no use in waiting"
            held.append(asyncio.create_task(ask("chat/completions", talk | {"n": 2, "stream": True})))
            while len(entered) < 2:
                await asyncio.sleep(0.01)
            assert (await ask("completions", texts | {"prompt": "a"})).status_code == 429
            gate.set()
            assert [answer.status_code for answer in await asyncio.gather(*held)] == [200, 200]
            assert (await ask("chat/completions", talk | {"n": 6})).status_code == 200
        assert entered == [4, 2, 6]

    asyncio.run(asyncio.wait_for(run(), 30))


@pytest.mark.parametrize(
    "body", [b"{", b'{"model": "\xff\xfe"}', b"[" * 100_000 + b"]" * 100_000], ids=["cut", "bytes", "deep"]
)
def test_a_body_that_is_no_json(client: TestClient, body: bytes) -> None:
    found = client.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    assert (found.status_code, found.json()["error"]["code"]) == (400, "invalid_json")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"[]", "application/json"),
        (b'"hi"', "application/json"),
        (b'{"model": "x"}', "application/x-www-form-urlencoded"),  # what curl -d sends by itself
        (b'{"model": "x"}', "text/plain"),
    ],
)
def test_a_body_that_is_no_object_is_told_how_to_send_one(client: TestClient, body: bytes, kind: str) -> None:
    answer = client.post("/v1/chat/completions", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 400
    assert answer.json()["error"] == {
        "message": "the body must be a JSON object, sent with the header Content-Type: application/json",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_value",
    }


def test_the_field_at_fault_is_a_field_of_the_body(client: TestClient) -> None:
    """And no name of pydantic's for a branch of a union."""
    talk = {"model": "toy", "messages": [{"role": "user", "content": "a"}]}
    for body, param in (
        (talk | {"stop": {"a": 1}}, "stop"),
        (talk | {"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        (talk | {"tool_choice": "sometimes"}, "tool_choice"),
        ({"model": "toy"}, "messages"),
        (talk | {"tools": [{"type": "function"}]}, "tools[0].function"),
    ):
        error = client.post("/v1/chat/completions", json=body).json()["error"]
        assert error["param"] == param, error


@pytest.mark.parametrize(
    ("fields", "ending", "variables"),
    [
        ({}, "answer", {}),
        ({"continue_final_message": True, "add_generation_prompt": False}, "continue", {}),  # vLLM's way
        ({"messages": [PREFILLED[0], PREFILLED[1] | {"prefix": True}]}, "continue", {}),  # Mistral's and DeepSeek's
        ({"add_generation_prompt": False}, "none", {}),
        ({"enable_thinking": False}, "answer", {"enable_thinking": False}),  # DashScope's
        ({"reasoning_effort": "low"}, "answer", {"reasoning_effort": "low", "enable_thinking": True}),
        ({"reasoning_effort": "none"}, "answer", {"reasoning_effort": "none", "enable_thinking": False}),
        ({"chat_template_kwargs": {"thinking": True, "x": [1]}}, "answer", {"thinking": True, "x": [1]}),
        ({"response_format": {"type": "json_object"}}, "answer", {"enable_thinking": False}),
    ],
)
def test_what_the_template_is_given(client: TestClient, fields: dict, ending: str, variables: dict) -> None:
    body = {"model": "toy", "messages": PREFILLED} | fields
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    assert "x-kaiwa-ignored" not in answer.headers
    prompt = stub(client).requests[-1].prompt
    assert (prompt.ending, prompt.variables) == (ending, variables)


@pytest.mark.parametrize(
    "fields",
    [
        {"continue_final_message": True, "messages": PREFILLED[:1]},
        {"continue_final_message": True, "add_generation_prompt": True},
        {"chat_template_kwargs": {"messages": []}},
        {"thinking_budget": -1},
        {"reasoning_effort": "very"},
    ],
)
def test_what_no_template_is_given(client: TestClient, fields: dict) -> None:
    answer = client.post("/v1/chat/completions", json={"model": "toy", "messages": PREFILLED} | fields)
    assert answer.status_code == 400
    assert any(name in answer.json()["error"]["message"] for name in fields)


def test_reasoning_is_apart_from_content(client: TestClient) -> None:
    """`reasoning_content`, as DeepSeek's and vLLM's clients read it; the tokens are counted."""
    engine = stub(client)
    engine.markup = AnswerMarkup(reasoning=("<think>", "</think>"))
    engine.pieces = ["<thi", "nk>", "Hm", ".</think>", "\n\nYes", "."]
    body = {"model": "toy", "messages": PREFILLED[:1]}
    whole = client.post("/v1/chat/completions", json=body).json()
    message = whole["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("Hm.", "Yes.")
    assert whole["usage"]["completion_tokens_details"]["reasoning_tokens"] == 4
    deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in stream_lines(client, body)]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "Hm."
    assert "".join(delta.get("content", "") for delta in deltas) == "Yes."
    raw = client.post("/v1/chat/completions", json=body | {"reasoning_format": "none"}).json()
    assert raw["choices"][0]["message"]["content"] == "<think>Hm.</think>\n\nYes."
    response = client.post("/v1/responses", json={"model": "toy", "input": "x"}).json()
    assert [item["type"] for item in response["output"]] == ["reasoning", "message"]
    assert response["usage"]["output_tokens_details"]["reasoning_tokens"] == 4


def stub(client: TestClient) -> Engine:
    return client.app.state.engine  # type: ignore[attr-defined, no-any-return]


def stream_lines(client: TestClient, body: dict) -> list[str]:
    text = client.post("/v1/chat/completions", json=body | {"stream": True}).text
    return [line for line in text.splitlines() if line.startswith("data: {")]


def test_answers_name_what_computed_them(client: TestClient) -> None:
    stub(client).fingerprint = "fp_1"
    for path, body in (("chat/completions", {"messages": PREFILLED}), ("completions", {"prompt": "a"})):
        answer = client.post(f"/v1/{path}", json={"model": "toy"} | body)
        assert answer.json()["system_fingerprint"] == "fp_1"
        lines = client.post(f"/v1/{path}", json={"model": "toy", "stream": True} | body).text.splitlines()
        chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        assert {chunk["system_fingerprint"] for chunk in chunks} == {"fp_1"}


@pytest.mark.parametrize(
    ("path", "fields", "repeatable"),
    [
        ("chat/completions", {}, False),
        ("chat/completions", {"temperature": 0}, True),
        ("chat/completions", {"seed": 0}, True),
        ("chat/completions", {"logprobs": True}, True),
        ("completions", {"logprobs": 0}, True),
        ("completions", {"echo": True}, True),
        ("completions", {"temperature": 0.5}, False),
    ],
)
def test_what_is_to_be_the_same_again(client: TestClient, path: str, fields: dict, repeatable: bool) -> None:
    start = {"messages": PREFILLED} if path == "chat/completions" else {"prompt": "a"}
    assert client.post(f"/v1/{path}", json={"model": "toy"} | start | fields).status_code == 200
    assert stub(client).requests[-1].repeatable is repeatable


def test_a_full_disk_is_named(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("kaiwa.serve.tuning.uploaded_files.write_atomic", fail)
    files = {"file": ("a.jsonl", b'{"messages": []}\n')}
    answer = client.post("/v1/files", files=files, data={"purpose": "fine-tune"})
    assert answer.status_code == 507
    error = answer.json()["error"]
    assert (error["code"], error["type"]) == ("insufficient_storage", "server_error")
    assert "disk is full" in error["message"]
    assert client.get("/v1/files").json()["data"] == [], "nothing is left of it"


@pytest.mark.parametrize(
    ("path", "fields", "param", "words"),
    [
        ("chat/completions", {"stop": ["x"] * 17}, "stop", "16"),
        (
            "chat/completions",
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "content[0].type",
            "text only",
        ),
        ("completions", {"stop": ["x", 7]}, "stop[1]", "string"),
        ("embeddings", {"input": 7}, "input", "string"),
        ("embeddings", {"input": [""]}, "input", "empty"),
        (
            "responses",
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "content[0].type",
            "text only",
        ),
    ],
)
def test_an_error_says_what_is_wrong(client: TestClient, path: str, fields: dict, param: str, words: str) -> None:
    """Of a field that may be text or a list, not "should be a valid string"."""
    start = {"messages": PREFILLED, "prompt": "a", "input": "a", "model": "toy"}
    error = client.post(f"/v1/{path}", json=start | fields).json()["error"]
    assert error["param"].endswith(param)
    assert words in error["message"]
