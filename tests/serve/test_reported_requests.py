"""Requests that broke other servers, by public reports of 2025 and 2026: written anew, each answered by the engine."""

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
