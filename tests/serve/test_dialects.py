"""Anthropic's and Ollama's clients: their requests become ours, and answers have their shapes, streamed too."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn")

from fastapi.testclient import TestClient
from stub_engine import Engine

from kaiwa.catalog.entries import Entry
from kaiwa.serve.app import make_app
from kaiwa.serve.openai.call_forms import AnswerMarkup
from kaiwa.serve.services import ServerServices, ServerSettings
from kaiwa.serve.tuning.builds import BuildJobs

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CALL = '<tool_call>{"name": "weather", "arguments": {"city": "Kyoto"}}</tool_call>'
THINKING = AnswerMarkup(reasoning=("<think>", "</think>"))
HELLO = [{"role": "user", "content": "Hello"}]
ANTHROPIC_TOOL = {"name": "weather", "description": "Weather.", "input_schema": SCHEMA}
OLLAMA_TOOL = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}


class Bench:
    def __init__(self, client: TestClient, engine: Engine) -> None:
        self.client, self.engine = client, engine

    def messages(self, path: str = "", **fields: Any) -> Any:
        return self.client.post(
            f"/v1/messages{path}", json={"model": "toy", "max_tokens": 50, "messages": HELLO} | fields
        )

    def events(self, **fields: Any) -> list[dict[str, Any]]:
        blocks = self.messages(stream=True, **fields).text.strip().split("\n\n")
        events = [json.loads(block.partition("data: ")[2]) for block in blocks]
        assert [block.partition("\n")[0] for block in blocks] == [f"event: {event['type']}" for event in events]
        return events

    def ollama(self, path: str, **fields: Any) -> Any:
        return self.client.post(f"/api/{path}", json={"model": "toy"} | fields)

    def lines(self, path: str, **fields: Any) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.ollama(path, **fields).text.splitlines()]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    entry = Entry(name="toy", path=tmp_path, kind="rlhf", chat=True)
    settings = ServerSettings(runs=tmp_path, home=tmp_path, model="toy", extra=entry, port=80)
    engine = Engine()
    services = ServerServices(settings=settings, engine=engine, jobs=BuildJobs(tmp_path))  # type: ignore[arg-type]
    with TestClient(make_app(services), base_url="http://localhost:80") as client:
        yield Bench(client, engine)


# Anthropic


def test_a_message(bench: Bench) -> None:
    answer = bench.messages(
        system="Be brief.", stop_sequences=["x"], temperature=0.5, top_k=3, metadata={"user_id": "1"}
    )
    message = answer.json()
    assert (message["type"], message["role"], message["stop_reason"]) == ("message", "assistant", "end_turn")
    assert message["content"] == [{"type": "text", "text": "A calm answer."}]
    assert message["usage"]["input_tokens"] == 9
    assert "x-kaiwa-ignored" not in answer.headers
    request = bench.engine.requests[-1]
    assert [turn["content"] for turn in request.prompt.messages] == ["Be brief.", "Hello"]
    assert (request.sampling.max_tokens, request.sampling.stop, request.sampling.top_k) == (50, ("x",), 3)
    assert request.fit == "shorten", "clients always send max_tokens, and often more than there is room"
    assert request.prompt.variables == {"enable_thinking": False}, "thinking is on request"


def test_a_messages_stream(bench: Bench) -> None:
    bench.engine.markup = THINKING
    bench.engine.pieces = ["<think>Hm", ".</think>\n\n", "Let me ", "see. ", CALL[:40], CALL[40:]]
    fields = {"tools": [ANTHROPIC_TOOL], "thinking": {"type": "enabled", "budget_tokens": 1024}}
    events = bench.events(**fields)
    assert [events[i]["type"] for i in (0, 1, -2, -1)] == ["message_start", "ping", "message_delta", "message_stop"]
    starts = [event["content_block"]["type"] for event in events if event["type"] == "content_block_start"]
    assert starts == ["thinking", "text", "tool_use"]
    assert [event["index"] for event in events if event["type"] == "content_block_stop"] == [0, 1, 2]
    deltas = [(event["index"], event["delta"]) for event in events if event["type"] == "content_block_delta"]
    assert "".join(delta["thinking"] for i, delta in deltas if i == 0) == "Hm."
    assert "".join(delta["text"] for i, delta in deltas if i == 1) == "Let me see."
    assert json.loads("".join(delta["partial_json"] for i, delta in deltas if i == 2)) == {"city": "Kyoto"}
    assert events[-2]["delta"]["stop_reason"] == "tool_use"
    whole = bench.messages(**fields).json()
    assert [block["type"] for block in whole["content"]] == starts
    assert whole["content"][2]["input"] == {"city": "Kyoto"}
    assert bench.engine.requests[-1].thinking_budget == 1024
    assert bench.engine.requests[-1].prompt.variables == {"enable_thinking": True}


def test_a_stop_sequence_is_named(bench: Bench) -> None:
    bench.engine.stop = "x"
    message = bench.messages(stop_sequences=["x"]).json()
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "x")
    delta = next(event["delta"] for event in bench.events(stop_sequences=["x"]) if event["type"] == "message_delta")
    assert delta == {"stop_reason": "stop_sequence", "stop_sequence": "x"}


def test_a_conversation_with_tools(bench: Bench) -> None:
    talk = [
        *HELLO,
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "s"},
                {"type": "redacted_thinking", "data": "x"},
                {"type": "text", "text": "See:"},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Kyoto"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "sunny"}]},
                {"type": "text", "text": "And now?", "cache_control": {"type": "ephemeral"}},
            ],
        },
        {"role": "assistant", "content": "It is"},
    ]
    hosted = {"type": "web_search_20250305", "name": "web_search"}
    answer = bench.messages(messages=talk, tools=[ANTHROPIC_TOOL, hosted], tool_choice={"type": "auto"})
    assert answer.headers["x-kaiwa-ignored"] == "tools (web_search)"
    prompt = bench.engine.requests[-1].prompt
    assert [turn["role"] for turn in prompt.messages] == ["user", "assistant", "tool", "user", "assistant"]
    assert prompt.messages[1]["reasoning_content"] == "Hm."
    assert prompt.messages[1]["tool_calls"][0]["function"]["arguments"] == '{"city": "Kyoto"}'
    assert prompt.messages[2]["tool_call_id"] == "toolu_1"
    assert prompt.ending == "continue", "a prefill"
    assert [tool["function"]["name"] for tool in prompt.tools] == ["weather"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"messages": []}, "messages"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "text only"),
        ({"tools": [ANTHROPIC_TOOL], "tool_choice": {"type": "tool", "name": "gone"}}, "gone"),
        ({"model": "gone"}, "gone"),
    ],
)
def test_errors_have_anthropics_shape(bench: Bench, fields: dict, words: str) -> None:
    answer = bench.messages(**fields)
    assert answer.status_code in (400, 404)
    body = answer.json()
    assert (body["type"], "type" in body["error"]) == ("error", True)
    assert words in body["error"]["message"]


def test_an_engine_that_is_lost_ends_a_messages_stream(bench: Bench) -> None:
    bench.engine.lost = True
    assert bench.messages().json()["type"] == "error"


def test_tokens_are_counted(bench: Bench) -> None:
    assert isinstance(bench.messages("/count_tokens").json()["input_tokens"], int)


def test_anthropics_key_header(tmp_path: Path) -> None:
    key = "a-key-of-more-than-sixteen"
    settings = ServerSettings(runs=tmp_path, home=tmp_path, port=80, api_key=key)
    services = ServerServices(settings=settings, engine=Engine(), jobs=BuildJobs(tmp_path))  # type: ignore[arg-type]
    with TestClient(make_app(services), base_url="http://localhost:80") as client:
        assert client.get("/v1/models", headers={"x-api-key": key}).status_code == 200
        refused = client.post("/v1/messages", json={}, headers={"x-api-key": "wrong"})
        assert (refused.status_code, refused.json()["type"]) == (401, "error")


# Ollama


def test_an_ollama_chat(bench: Bench) -> None:
    bench.engine.pieces = ["A ", "calm ", "answer."]
    options = {"num_predict": 7, "temperature": 0.5, "seed": 3, "stop": ["x"], "repeat_penalty": 1.5, "num_ctx": 4096}
    lines = bench.lines("chat", messages=HELLO, options=options, keep_alive="5m", model="toy:latest")
    assert [line["message"]["content"] for line in lines] == ["A ", "calm ", "answer.", ""]
    assert [line["done"] for line in lines] == [False, False, False, True]
    assert (lines[-1]["done_reason"], lines[-1]["prompt_eval_count"], lines[-1]["eval_count"]) == ("stop", 9, 3)
    request = bench.engine.requests[-1]
    assert (request.sampling.max_tokens, request.sampling.seed, request.sampling.repetition_penalty) == (7, 3, 1.5)
    whole = bench.ollama("chat", messages=HELLO, stream=False).json()
    assert (whole["message"]["content"], whole["done"]) == ("A calm answer.", True)
    assert bench.engine.requests[-1].fit == "fill", "without num_predict an answer may fill the context"


@pytest.mark.parametrize("path", ["v1/chat/completions", "v1/messages", "v1/responses", "api/chat"])
def test_a_line_of_a_stream_has_no_other_line_ends(bench: Bench, path: str) -> None:
    """httpx, and the clients on it, end a line at U+0085, U+2028 and U+2029 too."""
    bench.engine.pieces = ["a\u2028b\x85", "c\u2029d"]
    key = "input" if path == "v1/responses" else "messages"
    body = {"model": "toy", "max_tokens": 50, "stream": True, key: HELLO}
    text = bench.client.post(f"/{path}", json=body).content.decode()
    assert [line for line in text.splitlines() if line] == [line for line in text.split("\n") if line]
    assert "\\u2028b\\u0085" in text


def test_ollama_tools_and_thinking(bench: Bench) -> None:
    bench.engine.markup = THINKING
    bench.engine.pieces = ["<think>Hm.</think>", CALL[:50], CALL[50:]]
    call = {"function": {"name": "weather", "arguments": {"city": "Kyoto"}}}
    talk = [
        *HELLO,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "sunny", "tool_name": "weather"},
    ]
    lines = bench.lines("chat", messages=talk, tools=[OLLAMA_TOOL], think=True)
    assert [line["message"].get("thinking") for line in lines if line["message"].get("thinking")] == ["Hm."]
    assert [line["message"]["tool_calls"] for line in lines if "tool_calls" in line["message"]] == [[call]]
    prompt = bench.engine.requests[-1].prompt
    assert prompt.messages[2]["tool_call_id"] == prompt.messages[1]["tool_calls"][0]["id"]
    assert prompt.variables == {"enable_thinking": True}


def test_ollama_generates(bench: Bench) -> None:
    assert (
        bench.ollama("generate", prompt="Hi", system="Be brief.", stream=False).json()["response"] == "A calm answer."
    )
    assert len(bench.engine.requests[-1].prompt.messages) == 2
    bench.lines("generate", prompt="<|im_start|>", raw=True)
    assert bench.engine.requests[-1].prompt.special, "raw prompts write special tokens by name"
    bench.lines("generate", prompt="a", suffix="b")
    assert bench.engine.requests[-1].prompt.suffix == "b"
    bench.ollama("generate", prompt="x", format=SCHEMA)
    assert json.loads(bench.engine.requests[-1].sampling.grammar.source) == SCHEMA


def test_ollama_lists(bench: Bench) -> None:
    client = bench.client
    assert client.get("/api/tags").json()["models"][0]["name"] == "toy"
    assert client.get("/api/ps").json() == {"models": []}
    assert client.get("/api/version").json()["version"]
    assert bench.ollama("show").json()["capabilities"] == ["completion", "tools"]
    assert len(bench.ollama("embed", input=["a"] * 2048).json()["embeddings"]) == 2048


@pytest.mark.parametrize(
    ("path", "fields", "status", "words"),
    [
        ("chat", {"model": "gone", "messages": HELLO}, 404, "gone"),
        ("chat", {"messages": [{"role": "user", "content": "x", "images": ["aGk="]}]}, 400, "text only"),
        ("chat", {"messages": HELLO, "options": {"temperature": 9}}, 400, "temperature"),
        ("embed", {"input": []}, 400, "input"),
    ],
)
def test_errors_have_ollamas_shape(bench: Bench, path: str, fields: dict, status: int, words: str) -> None:
    answer = bench.ollama(path, **fields)
    assert answer.status_code == status
    assert words in answer.json()["error"]


def test_json_without_a_content_type(bench: Bench) -> None:
    """LiteLLM sends Ollama's requests so."""
    body = json.dumps({"model": "toy", "messages": HELLO, "stream": False}).encode()
    assert bench.client.post("/api/chat", content=body).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/api/version", "/api/tags"])
def test_head_is_get_without_a_body(bench: Bench, path: str) -> None:
    answer = bench.client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(bench.client.get(path).content))


def test_the_embeddings_of_openai_take_as_many(bench: Bench) -> None:
    for n, status in ((2048, 200), (2049, 400)):
        assert bench.client.post("/v1/embeddings", json={"model": "toy", "input": ["a"] * n}).status_code == status
