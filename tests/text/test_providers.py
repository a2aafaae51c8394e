"""How each kind of server is spoken to."""

import json
from typing import Any

import httpx
import pytest

from kaiwa.core.errors import UserError
from kaiwa.text.chat_model import GenerateCall, ModelUnavailable
from kaiwa.text.client import HTTPChatModel
from kaiwa.text.providers import Provider, build_request, key_headers, read_answer, split_url
from kaiwa.text.records import Message, ToolUse
from kaiwa.text.sampling import Grammar, Sampling

HELLO = (Message("system", "Be brief."), Message("user", "Hello?"))
SAMPLING = Sampling(max_tokens=9, temperature=0.5, top_k=3, stop=("\n", "END"), seed=4)
ONCE = GenerateCall(prompt="Once", sampling=SAMPLING)


@pytest.mark.parametrize(
    ("url", "protocol"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://api.anthropic.com/v1", "anthropic"),
        ("http://127.0.0.1:11434", "ollama"),
        ("http://127.0.0.1:11434/v1", "openai"),
        ("https://x.openai.azure.com/openai/deployments/gpt?api-version=2024-06-01", "azure"),
        ("https://x.openai.azure.com/openai/v1", "openai"),
    ],
)
def test_the_protocol_follows_from_the_url(url: str, protocol: str) -> None:
    assert Provider().protocol_of(url) == protocol
    assert Provider(protocol="ollama").protocol_of(url) == "ollama"


def test_parameters_are_renamed_left_out_and_added() -> None:
    provider = Provider(
        parameters={"max_tokens": "max_completion_tokens", "temperature": "", "seed": ""},
        body={"reasoning_effort": "low"},
    )
    path, body = build_request("openai", "m", GenerateCall(prompt=HELLO, sampling=Sampling(max_tokens=9)), provider)
    assert path == "chat/completions"
    assert body == {
        "model": "m", "max_completion_tokens": 9, "top_p": 1.0, "messages": [m.to_json() for m in HELLO],
        "reasoning_effort": "low",
    }  # fmt: skip


def test_anthropic() -> None:
    path, body = build_request("anthropic", "claude", GenerateCall(prompt=HELLO, sampling=SAMPLING))
    assert path == "messages"
    assert body == {
        "model": "claude", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello?"}], "system": "Be brief.",
        "temperature": 0.5, "top_k": 3, "stop_sequences": ["END"],
    }  # fmt: skip
    assert key_headers("anthropic", "k") == {"anthropic-version": "2023-06-01", "x-api-key": "k"}
    usage = {"input_tokens": 5, "cache_read_input_tokens": 3, "output_tokens": 2}
    content = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hi"}]
    answer = {"content": content, "stop_reason": "max_tokens", "usage": usage}
    completion = read_answer("anthropic", answer)
    assert (completion.text, completion.finish_reason) == ("Hi", "length")
    assert (completion.n_prompt, completion.n_reused, completion.n_tokens) == (8, 3, 2)
    assert read_answer("anthropic", {"content": [], "stop_reason": "refusal"}).finish_reason == "refusal"


def test_ollama() -> None:
    grammar = Grammar(kind="json_schema", source='{"type": "object"}')
    greedy = Sampling(max_tokens=9, temperature=0.0, grammar=grammar)
    path, body = build_request("ollama", "q", GenerateCall(prompt=HELLO, sampling=greedy))
    assert (path, body["stream"], body["format"]) == ("api/chat", False, {"type": "object"})
    assert body["options"] == {"temperature": 0.0, "top_p": 1.0, "seed": 0, "num_predict": 9}
    assert build_request("ollama", "q", ONCE)[1]["raw"] is True
    renamed = build_request("ollama", "q", ONCE, Provider(parameters={"seed": ""}))
    assert "seed" not in renamed[1]["options"]
    answer = {"message": {"content": "Hi"}, "done_reason": "length", "prompt_eval_count": 4, "eval_count": 1}
    completion = read_answer("ollama", answer)
    assert (completion.text, completion.finish_reason, completion.n_prompt) == ("Hi", "length", 4)
    assert read_answer("ollama", {"response": " upon"}).text == " upon"


def test_azure() -> None:
    url = "https://x.openai.azure.com/openai/deployments/gpt?api-version=2024-06-01"
    assert split_url(url) == ("https://x.openai.azure.com/openai/deployments/gpt/", {"api-version": "2024-06-01"})
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json={"choices": [{"message": {"content": "hi"}}]})

    provider = Provider(headers={"x-team": "lab"})
    model = HTTPChatModel(url, "gpt", api_key="k", provider=provider, transport=httpx.MockTransport(answer))
    assert model.generate(HELLO).text == "hi"
    assert str(sent[0].url) == url.replace("?", "/chat/completions?")
    assert (sent[0].headers["api-key"], sent[0].headers["x-team"]) == ("k", "lab")
    assert "authorization" not in sent[0].headers


@pytest.mark.parametrize(
    ("status", "error", "n", "code"),
    [
        (429, {"message": "You exceeded your current quota", "code": "insufficient_quota"}, 1, "quota"),
        (402, {"message": "Insufficient credits"}, 1, "quota"),
        (429, {"message": "Rate limit reached"}, 3, "429"),
        (529, {"message": "Overloaded"}, 3, "529"),
    ],
)
def test_a_spent_quota_is_not_tried_again(status: int, error: dict[str, Any], n: int, code: str) -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(status, content=json.dumps({"error": error}).encode())

    transport = httpx.MockTransport(answer)
    model = HTTPChatModel("http://x/v1", "m", provider=Provider(retries=2), transport=transport, sleep=lambda _: None)
    with pytest.raises((UserError, ModelUnavailable)) as raised:
        model.generate(HELLO)
    assert (len(sent), raised.value.code) == (n, code)


def test_servers_without_log_probabilities_say_so() -> None:
    model = HTTPChatModel("https://api.anthropic.com/v1", "m")
    with pytest.raises(UserError, match="anthropic gives no log-probabilities; answer by text"):
        model.score("a", "b")


@pytest.mark.parametrize("values", [{"protocol": "opnai"}, {"timeout": 0}, {"retries": -1}])
def test_what_is_wrong_is_named(values: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        Provider(**values)


CALL = ToolUse(name="mail", arguments='{"to": "a@b.example", "n": 2}', id="c1")
TOOL = {"type": "function", "function": {"name": "mail", "description": "sends", "parameters": {"type": "object"}}}
TALK = (
    Message("user", "Send it."),
    Message("assistant", "", fields={"tool_calls": [CALL.to_json()]}),
    Message("tool", "sent", fields={"tool_call_id": "c1"}),
)


def test_tools_go_out_and_calls_come_back_by_each_protocol() -> None:
    call = GenerateCall(prompt=TALK, sampling=SAMPLING, tools=(TOOL,))
    body = build_request("openai", "m", call)[1]
    assert body["tools"] == [TOOL]
    assert body["messages"][1]["tool_calls"][0]["function"]["name"] == "mail"
    body = build_request("anthropic", "m", call)[1]
    assert body["tools"] == [{"name": "mail", "description": "sends", "input_schema": {"type": "object"}}]
    used = {"type": "tool_use", "id": "c1", "name": "mail", "input": {"to": "a@b.example", "n": 2}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": "sent"}
    assert body["messages"][1:] == [{"role": "assistant", "content": [used]}, {"role": "user", "content": [result]}]
    body = build_request("ollama", "m", call)[1]
    assert body["messages"][1]["tool_calls"] == [{"function": {"name": "mail", "arguments": used["input"]}}]
    with pytest.raises(UserError, match="tools need messages"):
        build_request("openai", "m", GenerateCall(prompt="Once", tools=(TOOL,)))
    answers = {
        "openai": {"choices": [{"message": {"content": None, "tool_calls": [CALL.to_json()]}}]},
        "anthropic": {"content": [used], "stop_reason": "tool_use"},
        "ollama": {
            "message": {"content": "", "tool_calls": [{"function": {"name": "mail", "arguments": used["input"]}}]}
        },
    }
    for protocol, answer in answers.items():
        completion = read_answer(protocol, answer)
        assert completion.finish_reason == "tool_calls"
        assert completion.tool_calls[0].argument_text() == "a@b.example\n2"
    old = {"choices": [{"message": {"content": "", "function_call": {"name": "mail", "arguments": "not JSON"}}}]}
    assert read_answer("openai", old).tool_calls[0].argument_text() == "not JSON"
    assert read_answer("openai", {"choices": [{"message": {"content": "Hi", "tool_calls": None}}]}).tool_calls == ()
