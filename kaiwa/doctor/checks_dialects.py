"""Anthropic's Messages API and Ollama's API beside OpenAI's, and what proxies, containers and scripts ask for."""

from __future__ import annotations

import json
from typing import Any

from kaiwa.doctor.server import MESSAGES, Absent, ServerCheck, ServerUnderTest, expect, expect_error

WORD = {"enum": ["red", "blue"]}
PAINT = {"type": "object", "properties": {"colour": WORD}, "required": ["colour"]}
TOOL = {"name": "paint", "input_schema": PAINT}


def _message(server: ServerUnderTest, **fields: Any) -> dict[str, Any]:
    return server.request("/v1/messages", {"messages": MESSAGES, "max_tokens": 8, "temperature": 0, **fields})


def _message_events(server: ServerUnderTest, **fields: Any) -> list[dict[str, Any]]:
    body = {"messages": MESSAGES, "max_tokens": 8, "temperature": 0, **fields}
    return server.stream("/v1/messages", body).chunks


def check_message(server: ServerUnderTest) -> None:
    message = _message(server)
    expect((message["type"], message["role"]) == ("message", "assistant"), f"{message['type']!r}, {message['role']!r}")
    expect(message["content"][0]["type"] == "text", "the first block is no text")
    expect(message["stop_reason"] in ("end_turn", "max_tokens"), f"stop_reason {message['stop_reason']!r}")
    expect(message["usage"]["input_tokens"] > 0 and message["usage"]["output_tokens"] > 0, "no usage")


def check_message_equals_chat(server: ServerUnderTest) -> None:
    text = "".join(block["text"] for block in _message(server)["content"] if block["type"] == "text")
    expect(text == server.chat()["choices"][0]["message"]["content"], f"{text[:50]!r}")


def check_message_stream(server: ServerUnderTest) -> None:
    events = _message_events(server)
    kinds = [event["type"] for event in events if event["type"] != "ping"]
    expect(kinds[0] == "message_start" and kinds[-2:] == ["message_delta", "message_stop"], f"{kinds[:1] + kinds[-2:]}")
    text = "".join(event["delta"]["text"] for event in events if event["type"] == "content_block_delta")
    whole = "".join(block["text"] for block in _message(server)["content"])
    expect(text == whole, "the deltas are not the text")


def check_message_tool(server: ServerUnderTest) -> None:
    message = _message(server, tools=[TOOL], tool_choice={"type": "any"}, max_tokens=200)
    (block,) = [block for block in message["content"] if block["type"] == "tool_use"]
    expect(message["stop_reason"] == "tool_use", f"stop_reason {message['stop_reason']!r}")
    expect(block["name"] == "paint" and block["input"]["colour"] in WORD["enum"], f"{block}")


def check_message_tool_stream(server: ServerUnderTest) -> None:
    events = _message_events(server, tools=[TOOL], tool_choice={"type": "tool", "name": "paint"}, max_tokens=200)
    parts = [e["delta"].get("partial_json", "") for e in events if e["type"] == "content_block_delta"]
    expect(json.loads("".join(parts))["colour"] in WORD["enum"], f"{''.join(parts)[:50]!r}")


def check_message_results(server: ServerUnderTest) -> None:
    use = {"type": "tool_use", "id": "toolu_1", "name": "paint", "input": {"colour": "red"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "done"}]}
    talk = [*MESSAGES, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    _message(server, messages=talk, tools=[TOOL])


def check_message_system_and_prefill(server: ServerUnderTest) -> None:
    talk = [*MESSAGES, {"role": "assistant", "content": "The sea is"}]
    _message(server, messages=talk, system=[{"type": "text", "text": "Be brief."}], stop_sequences=["\u0001"])


def check_message_error(server: ServerUnderTest) -> None:
    response = server.post("/v1/messages", {"model": server.model, "messages": MESSAGES})
    if response.status_code == 404:
        raise Absent("no /v1/messages")
    body = response.json()
    expect(response.status_code == 400, f"status {response.status_code}")
    expect(body.get("type") == "error" and "type" in body["error"], f"{str(body)[:80]}")


def check_message_count(server: ServerUnderTest) -> None:
    count = server.request("/v1/messages/count_tokens", {"messages": MESSAGES})["input_tokens"]
    expect(isinstance(count, int) and count > 0, f"{count!r}")


def _ollama(server: ServerUnderTest, path: str, **fields: Any) -> dict[str, Any]:
    options = {"temperature": 0, "num_predict": 8}
    return server.request(f"/api/{path}", {"stream": False, "options": options, **fields})


def check_ollama_tags(server: ServerUnderTest) -> None:
    response = server.get("/api/tags")
    if response.status_code == 404:
        raise Absent("no /api/tags")
    expect(server.model in [model["model"] for model in response.json()["models"]], "the model is not in the list")


def check_ollama_chat(server: ServerUnderTest) -> None:
    answer = _ollama(server, "chat", messages=MESSAGES)
    expect(answer["done"] is True and isinstance(answer["message"]["content"], str), f"{str(answer)[:80]}")
    expect(answer["eval_count"] > 0 and answer["prompt_eval_count"] > 0, "no counts")


def check_ollama_stream(server: ServerUnderTest) -> None:
    options = {"temperature": 0, "num_predict": 8}
    response = server.post("/api/chat", {"model": server.model, "messages": MESSAGES, "options": options})
    if response.status_code == 404:
        raise Absent("no /api/chat")
    lines = [json.loads(line) for line in response.text.splitlines()]
    expect([line["done"] for line in lines].count(True) == 1 and lines[-1]["done"], "done is not the last line's alone")
    text = "".join(line["message"]["content"] for line in lines)
    expect(text == _ollama(server, "chat", messages=MESSAGES)["message"]["content"], "the lines are not the text")


def check_ollama_format(server: ServerUnderTest) -> None:
    options = {"temperature": 0, "num_predict": 200}
    answer = _ollama(server, "chat", messages=MESSAGES, format=PAINT, options=options)
    expect(json.loads(answer["message"]["content"])["colour"] in WORD["enum"], "the answer does not keep to the schema")


def check_ollama_generate(server: ServerUnderTest) -> None:
    expect(isinstance(_ollama(server, "generate", prompt="Hello.")["response"], str), "no response")


def check_ollama_embed(server: ServerUnderTest) -> None:
    vectors = server.request("/api/embed", {"input": ["the sea", "the land"]})["embeddings"]
    expect(len(vectors) == 2 and len(vectors[0]) == len(vectors[1]), f"{len(vectors)} vectors")


def check_ollama_error(server: ServerUnderTest) -> None:
    response = server.post("/api/chat", {"model": "no-such-model", "messages": MESSAGES})
    expect(response.status_code == 404, f"status {response.status_code}")
    if not isinstance(response.json().get("error"), str):
        raise Absent("no error of Ollama's shape")


def check_head(server: ServerUnderTest) -> None:
    response = server.client.head("/v1/models")
    expect(response.status_code == 200, f"status {response.status_code}")


def check_no_content_type(server: ServerUnderTest) -> None:
    body = json.dumps({"model": server.model, "messages": MESSAGES, "max_tokens": 2}).encode()
    response = server.client.post("/v1/chat/completions", content=body)
    expect(response.status_code in (200, 400, 415, 422), f"status {response.status_code}")
    if response.status_code != 200:
        expect_error(response, 400, 415, 422, field="Content-Type")


def check_many_embeddings(server: ServerUnderTest) -> None:
    vectors = server.request("/v1/embeddings", {"input": ["sea"] * 200})["data"]
    expect(len(vectors) == 200, f"{len(vectors)} vectors")


def check_hosted_tools(server: ServerUnderTest) -> None:
    tools = [{"type": "web_search"}, {"type": "function", "name": "paint", "parameters": PAINT}]
    server.request("/v1/responses", {"input": "Hello.", "tools": tools, "max_output_tokens": 16})


def check_results_as_parts(server: ServerUnderTest) -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "paint", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "done"}]}
    items = [{"role": "user", "content": "Paint."}, {"type": "reasoning", "id": "rs_1", "summary": []}, call, result]
    body = {"input": items, "include": ["reasoning.encrypted_content"], "max_output_tokens": 16}
    server.request("/v1/responses", body)


def check_pictures(server: ServerUnderTest) -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    body = {"model": server.model, "messages": [{"role": "user", "content": [part]}], "max_tokens": 2}
    response = server.post("/v1/chat/completions", body)
    expect(response.status_code in (200, 400, 422), f"status {response.status_code}")
    if response.status_code != 200:
        message = expect_error(response, 400, 422)["message"]
        expect("valid string" not in message, f"the error misleads: {message[:60]!r}")


def check_raw_prompts(server: ServerUnderTest) -> None:
    expect(isinstance(server.complete(parse_special=True)["choices"][0]["text"], str), "no text")


GROUP = "other dialects"
CHECKS = (
    ServerCheck("/v1/messages: blocks, stop_reason, usage (Anthropic)", check_message, must=False),
    ServerCheck("/v1/messages: the text of chat completions", check_message_equals_chat, must=False),
    ServerCheck("its stream: message_start, blocks, message_delta, message_stop", check_message_stream, must=False),
    ServerCheck("tool_choice any: a tool_use block", check_message_tool, must=False),
    ServerCheck("a tool_use block in a stream: partial_json", check_message_tool_stream, must=False),
    ServerCheck("tool_use and tool_result blocks are taken", check_message_results, must=False),
    ServerCheck("system, stop_sequences and a prefill are taken", check_message_system_and_prefill, must=False),
    ServerCheck("errors have Anthropic's shape", check_message_error, must=False),
    ServerCheck("/v1/messages/count_tokens", check_message_count, must=False),
    ServerCheck("/api/tags lists the model (Ollama)", check_ollama_tags, must=False),
    ServerCheck("/api/chat, stream false: message, done, counts", check_ollama_chat, must=False),
    ServerCheck("/api/chat as lines: done in the last", check_ollama_stream, must=False),
    ServerCheck("/api/chat with format: a schema", check_ollama_format, must=False),
    ServerCheck("/api/generate", check_ollama_generate, must=False),
    ServerCheck("/api/embed", check_ollama_embed, must=False),
    ServerCheck("errors have Ollama's shape", check_ollama_error, must=False),
    ServerCheck("HEAD /v1/models is 200", check_head, must=False),
    ServerCheck("JSON without a Content-Type is read or explained", check_no_content_type, must=False),
    ServerCheck("200 texts in a request of embeddings", check_many_embeddings, must=False),
    ServerCheck("/v1/responses: a hosted tool does not fail the request", check_hosted_tools, must=False),
    ServerCheck("/v1/responses: results as parts, reasoning items, include", check_results_as_parts, must=False),
    ServerCheck("a picture is read, or refused in words", check_pictures, must=False),
    ServerCheck("special tokens in a raw prompt on request (parse_special)", check_raw_prompts, must=False),
)
