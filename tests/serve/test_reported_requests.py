"""Requests that broke other servers, by public reports of 2025 and 2026: written anew, each answered by the engine."""

import gzip
from typing import Any

import httpx
import pytest

from tests.running_server import Running

USER = {"role": "user", "content": "the cat"}
CALL = {"id": "c1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
NOW = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}


def ask(server: Running, path: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}{path}", json={"model": "toy/long", **body}, timeout=60)


CHATS: dict[str, dict[str, Any]] = {
    "a turn of reasoning alone": {
        "messages": [USER, {"role": "assistant", "content": None, "reasoning_content": "Hm."}, USER]
    },
    "a turn of nothing": {"messages": [USER, {"role": "assistant", "content": None}, USER]},
    "a turn without the field content": {"messages": [USER, {"role": "assistant", "reasoning": "Hm."}, USER]},
    "thinking among the parts": {
        "messages": [
            USER,
            {
                "role": "assistant",
                "content": [{"type": "thinking", "thinking": "Hm.", "signature": ""}, {"type": "text", "text": "Yes."}],
            },
            USER,
        ]
    },
    "hidden thinking and nothing else": {
        "messages": [USER, {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]}, USER]
    },
    "a tool's result of null": {
        "messages": [
            USER,
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": None},
        ],
        "tools": [NOW],
    },
    "no tools in a list": {"messages": [USER], "tools": [], "tool_choice": "auto"},
    "calls of null": {"messages": [USER, {"role": "assistant", "content": "Yes.", "tool_calls": None}, USER]},
    "no calls in a list": {"messages": [USER, {"role": "assistant", "content": "Yes.", "tool_calls": []}, USER]},
    "types in capitals": {
        "messages": [USER],
        "tools": [
            {
                "type": "function",
                "function": {"name": "f", "parameters": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}},
            }
        ],
        "tool_choice": "auto",
    },
    "parameters without a type": {
        "messages": [USER],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "tool_choice": "required",
    },
    "what a message came with": {
        "messages": [USER, {"role": "assistant", "content": "Yes.", "refusal": None, "annotations": [], "audio": None}]
    },
    "top_p 0, top_k -1 and an empty stop": {"messages": [USER], "top_p": 0, "top_k": -1, "stop": ""},
    "empty stops among others": {"messages": [USER], "stop": ["", "xyzzy"]},
    "tool_choice any, as Mistral says required": {"messages": [USER], "tools": [NOW], "tool_choice": "any"},
    "a picture in a tool's result": {
        "messages": [
            USER,
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {
                "role": "tool",
                "tool_call_id": "c1",
                "content": [{"type": "image_url", "image_url": {"url": "data:,"}}, {"type": "text", "text": "noon"}],
            },
        ],
        "tools": [NOW],
    },
    "a budget for thinking and fields of proxies": {
        "messages": [USER],
        "reasoning": {"effort": "low"},
        "stream_options": {"include_usage": True},
        "provider": {"order": []},
    },
}


@pytest.mark.parametrize("name", CHATS)
def test_chats_are_answered(server: Running, name: str) -> None:
    response = ask(server, "/v1/chat/completions", max_tokens=40, temperature=0, **CHATS[name])
    assert response.status_code == 200, response.text
    message = response.json()["choices"][0]["message"]
    assert message["content"] or message.get("tool_calls")


CODEX: dict[str, Any] = {
    "instructions": "Be brief.",
    "input": [
        {"role": "system", "content": "Today is Tuesday."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "the cat"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": None, "encrypted_content": ""},
        {"role": "assistant", "content": [{"type": "output_text", "text": "The dog."}]},
        {"type": "function_call", "call_id": "c1", "name": "now", "arguments": "{}", "id": None, "status": "completed"},
        {"type": "function_call_output", "call_id": "c1", "output": "noon"},
        {"type": "local_shell_call", "call_id": "c2", "status": "completed", "action": {"type": "exec", "command": []}},
        {"role": "user", "content": [{"type": "input_text", "text": "the dog"}]},
    ],
    "tools": [
        {"type": "function", "name": "now", "parameters": {"type": "object", "properties": {}}, "strict": False},
        {"type": "web_search", "external_web_access": False},
        {"type": "namespace", "name": "mcp__idea__", "tools": []},
        {"type": "custom", "name": "apply_patch", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "text": {"verbosity": "low"},
    "prompt_cache_key": "k",
    "client_metadata": {"a": "b"},
}


@pytest.mark.parametrize("stream", [False, True])
def test_a_coding_agents_request(server: Running, stream: bool) -> None:
    """Tools of other servers, text without a format, reasoning that is not ours: left out, and named."""
    response = ask(server, "/v1/responses", max_output_tokens=20, stream=stream, **CODEX)
    assert response.status_code == 200, response.text
    ignored = response.headers["X-Kaiwa-Ignored"]
    for name in ("tools (web_search)", "tools (namespace)", "tools (custom)", "include (reasoning.encrypted_content)"):
        assert name in ignored
    end = "event: response.incomplete" if stream else '"status":"incomplete"'
    assert end in response.text, "cut at 20 tokens"


def test_thinking_of_a_turn_is_reasoning(server: Running) -> None:
    """It reaches the template by the name that templates use, and counts as none of the words."""
    from kaiwa.serve.openai.protocol import ChatRequest

    body = {"model": "m", **CHATS["thinking among the parts"]}
    turn = ChatRequest.model_validate(body).messages[1].to_turn()
    assert (turn["content"], turn["reasoning_content"]) == ("Yes.", "Hm.")
    alone = (
        ChatRequest.model_validate({"model": "m", **CHATS["a turn without the field content"]}).messages[1].to_turn()
    )
    assert (alone["content"], alone["reasoning_content"]) == ("", "Hm.")


@pytest.mark.parametrize("message", [{"role": "user", "content": None}, {"role": "system"}])
def test_what_still_needs_content(server: Running, message: dict[str, Any]) -> None:
    response = ask(server, "/v1/chat/completions", messages=[message], max_tokens=4)
    assert response.status_code == 400
    assert "needs content" in response.json()["error"]["message"]


def test_a_picture_in_a_result_is_put_into_words(server: Running) -> None:
    """An agent sends it with every later request: a 400 would end its session for good."""
    parts = [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aa"}}]
    use = {"type": "tool_use", "id": "t", "name": "now", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": parts}
    turns = [USER, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    assert ask(server, "/v1/messages", max_tokens=8, messages=turns).status_code == 200
    items = [
        USER,
        {"type": "function_call", "call_id": "c", "name": "now", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": "data:,"}]},
    ]
    assert ask(server, "/v1/responses", input=items, max_output_tokens=8).status_code == 200
    shown = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
    refused = ask(server, "/v1/chat/completions", messages=shown)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "messages[0].content[0].type")


def test_top_p_of_nothing_is_the_likeliest_token(server: Running) -> None:
    told = [
        ask(server, "/v1/chat/completions", messages=[USER], max_tokens=8, **more).json()["choices"][0]["message"]
        for more in ({"temperature": 0}, {"top_p": 0, "temperature": 1})
    ]
    assert told[0] == told[1]


@pytest.mark.parametrize("path", ["/chat/completions", "//v1/chat/completions", "/v1/v1/chat/completions"])
def test_a_wrong_base_url_is_named(server: Running, path: str) -> None:
    response = ask(server, path, messages=[USER])
    assert response.status_code in (404, 405)
    assert response.json()["error"]["message"].endswith(f"a client's base_url is {server.url}/v1")


def test_a_compressed_body_is_named(server: Running) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "zstd"}
    for content in (b"\x28\xb5\x2f\xfd", gzip.compress(b"{}")):
        response = httpx.post(f"{server.url}/v1/chat/completions", content=content, headers=headers)
        assert response.status_code == 415
        assert "zstd" in response.json()["error"]["message"]


def test_a_list_with_a_slash(server: Running) -> None:
    assert httpx.get(f"{server.url}/v1/models/").json() == httpx.get(f"{server.url}/v1/models").json()
