"""Tools, formats, embeddings, the Responses API, tokens: parts not offered by every server."""

from __future__ import annotations

import base64
import json
import math
import struct
from typing import Any

from kaiwa.doctor.server import MESSAGES, Absent, ServerCheck, ServerUnderTest, expect, expect_error

SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}},
    "required": ["colour"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "paint", "description": "Paints.", "parameters": SCHEMA}}
TURNS = [
    *MESSAGES,
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "paint", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "done"},
]


def check_json_schema(server: ServerUnderTest) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "paint", "schema": SCHEMA, "strict": True}}
    choice = server.chat(response_format=form, max_tokens=200)["choices"][0]
    _expect_colour(choice["message"]["content"])


def check_json_object(server: ServerUnderTest) -> None:
    choice = server.chat(response_format={"type": "json_object"}, max_tokens=200)["choices"][0]
    text = choice["message"]["content"]
    expect(text.lstrip().startswith("{"), f"it begins {text[:20]!r}")
    if choice["finish_reason"] == "stop":
        expect(isinstance(json.loads(text), dict), "no object")


def check_required_tool(server: ServerUnderTest) -> None:
    choice = server.chat(tools=[TOOL], tool_choice="required", max_tokens=200)["choices"][0]
    _expect_call(choice["message"]["tool_calls"])


def check_named_tool(server: ServerUnderTest) -> None:
    choice_of_tool = {"type": "function", "function": {"name": "paint"}}
    choice = server.chat(tools=[TOOL], tool_choice=choice_of_tool, max_tokens=200)["choices"][0]
    _expect_call(choice["message"]["tool_calls"])


def check_streamed_tool(server: ServerUnderTest) -> None:
    chunks = server.chat_stream(tools=[TOOL], tool_choice="required", max_tokens=200).chunks
    calls: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for piece in chunk["choices"][0]["delta"].get("tool_calls") or [] if chunk["choices"] else []:
            call = calls.setdefault(piece["index"], {"function": {"name": "", "arguments": ""}})
            call["id"] = piece.get("id") or call.get("id")
            for name in ("name", "arguments"):
                call["function"][name] += piece["function"].get(name) or ""
    _expect_call(list(calls.values()))


def check_tools_without_a_call(server: ServerUnderTest) -> None:
    for choice in ("auto", "none"):
        server.chat(tools=[TOOL], tool_choice=choice)


def check_tool_turns(server: ServerUnderTest) -> None:
    server.chat(messages=TURNS, tools=[TOOL])


def check_embeds(server: ServerUnderTest) -> None:
    answer = server.request("/v1/embeddings", {"input": "the sea"})
    vector = answer["data"][0]["embedding"]
    expect(answer["object"] == "list" and answer["data"][0]["index"] == 0, "the shape")
    expect(vector and all(math.isfinite(x) for x in vector), "no finite numbers")
    expect(answer["usage"]["prompt_tokens"] > 0, "no usage")


def check_embeds_as_bytes(server: ServerUnderTest) -> None:
    body = {"input": "the sea"}
    plain = server.request("/v1/embeddings", body)["data"][0]["embedding"]
    packed = base64.b64decode(
        server.request("/v1/embeddings", body | {"encoding_format": "base64"})["data"][0]["embedding"]
    )
    values = struct.unpack(f"<{len(packed) // 4}f", packed)
    expect(len(values) == len(plain), f"{len(values)} numbers, not {len(plain)}")
    expect(all(abs(a - b) < 1e-5 for a, b in zip(values, plain, strict=True)), "other numbers")


def check_embeds_many(server: ServerUnderTest) -> None:
    both = server.request("/v1/embeddings", {"input": ["the sea", "a much longer text about the land"]})["data"]
    alone = server.request("/v1/embeddings", {"input": "the sea"})["data"][0]["embedding"]
    expect([one["index"] for one in both] == [0, 1], "the order")
    expect(all(abs(a - b) < 1e-3 for a, b in zip(both[0]["embedding"], alone, strict=True)), "another vector")


def check_responds(server: ServerUnderTest) -> None:
    answer = server.request("/v1/responses", {"input": "Hello.", "max_output_tokens": 16})
    expect(answer["object"] == "response" and answer["status"] in ("completed", "incomplete"), f"{answer['status']}")
    part = answer["output"][-1]["content"][0]
    expect(part["type"] == "output_text" and isinstance(part["text"], str), "no output_text")
    expect(answer["usage"]["total_tokens"] > 0, "no usage")


def check_responds_to_items(server: ServerUnderTest) -> None:
    items = [{"role": "user", "content": [{"type": "input_text", "text": "Hello."}]}]
    server.request("/v1/responses", {"input": items, "instructions": "Be brief.", "max_output_tokens": 16})


def check_responds_in_events(server: ServerUnderTest) -> None:
    stream = server.stream("/v1/responses", {"input": "Hello.", "max_output_tokens": 16, "temperature": 0})
    events = stream.chunks
    kinds = [event["type"] for event in events]
    expect(kinds[0] == "response.created", f"it begins with {kinds[0]}")
    expect(kinds[-1] in ("response.completed", "response.incomplete"), f"it ends with {kinds[-1]}")
    expect([event["sequence_number"] for event in events] == list(range(len(events))), "numbers are missing")
    text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    expect(text == events[-1]["response"]["output"][-1]["content"][0]["text"], "the deltas are not the text")


def check_tokenizes(server: ServerUnderTest) -> None:
    answer = server.request("/tokenize", {"prompt": "the sea 海", "add_special_tokens": False})
    expect(answer["count"] == len(answer["tokens"]), "count is another number")
    back = server.request("/detokenize", {"tokens": answer["tokens"]})
    expect(back["prompt"] == "the sea 海", f"{back['prompt']!r}")


def check_tokenizes_messages(server: ServerUnderTest) -> None:
    count = server.request("/tokenize", {"messages": MESSAGES})["count"]
    expect(count == server.chat(max_tokens=1)["usage"]["prompt_tokens"], f"{count}")


def check_reports_its_tokenizer(server: ServerUnderTest) -> None:
    response = server.get(f"/tokenizer_info?model={server.model}")
    if response.status_code == 404:
        raise Absent("no /tokenizer_info")
    answer = response.json()
    expect("eos_token" in answer and "chat_template" in answer, f"{list(answer)[:6]}")


def check_refuses_a_bad_embedding(server: ServerUnderTest) -> None:
    response = server.post("/v1/embeddings", {"model": server.model, "input": []})
    if response.status_code == 404:
        raise Absent("no /v1/embeddings")
    expect_error(response, 400, 422, field="input")


def _expect_colour(text: str) -> None:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    expect(isinstance(value, dict) and value.get("colour") in ("red", "blue"), f"{text[:60]!r}")


def _expect_call(calls: list[dict[str, Any]]) -> None:
    expect(len(calls) == 1, f"{len(calls)} calls")
    expect(isinstance(calls[0]["id"], str) and calls[0]["id"], "no id")
    expect(calls[0]["function"]["name"] == "paint", f"{calls[0]['function']['name']!r}")
    _expect_colour(calls[0]["function"]["arguments"])


GROUP = "more"
CHECKS = (
    ServerCheck("response_format json_schema: the answer keeps to it", check_json_schema, must=False),
    ServerCheck(
        "response_format json_object: the answer is an object, as far as it goes", check_json_object, must=False
    ),
    ServerCheck("tool_choice required: a call with arguments that keep to the schema", check_required_tool, must=False),
    ServerCheck("a named function is the one that is called", check_named_tool, must=False),
    ServerCheck(
        "a call in a stream: id and name first, arguments to be joined by index", check_streamed_tool, must=False
    ),
    ServerCheck("tools with tool_choice auto and none are taken", check_tools_without_a_call, must=False),
    ServerCheck("earlier calls and their results are taken", check_tool_turns, must=False),
    ServerCheck("/v1/embeddings: a vector of numbers, usage", check_embeds, must=False),
    ServerCheck("encoding_format base64 (openai's default) is the same vector", check_embeds_as_bytes, must=False),
    ServerCheck("a list of inputs: one vector each, as alone", check_embeds_many, must=False),
    ServerCheck("/v1/embeddings of nothing is 400", check_refuses_a_bad_embedding, must=False),
    ServerCheck("/v1/responses: output with a message of output_text", check_responds, must=False),
    ServerCheck("input as items, and instructions", check_responds_to_items, must=False),
    ServerCheck(
        "its stream: created, deltas that make the text, completed, numbered", check_responds_in_events, must=False
    ),
    ServerCheck("/tokenize and /detokenize are each other's inverse", check_tokenizes, must=False),
    ServerCheck("/tokenize of messages counts what chat counts", check_tokenizes_messages, must=False),
    ServerCheck("/tokenizer_info has eos_token and chat_template (lm-eval)", check_reports_its_tokenizer, must=False),
)
