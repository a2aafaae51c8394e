"""Tools, formats, embeddings, the Responses API, tokens: what not every server offers."""

from __future__ import annotations

import base64
import json
import math
import struct
from typing import Any

from kaiwa.doctor.target import MESSAGES, Absent, Check, Target, expect, refusal

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


def json_schema(target: Target) -> None:
    """response_format json_schema: the answer keeps to it"""
    form = {"type": "json_schema", "json_schema": {"name": "paint", "schema": SCHEMA, "strict": True}}
    choice = target.chat(response_format=form, max_tokens=200)["choices"][0]
    _painted(choice["message"]["content"])


def json_object(target: Target) -> None:
    """response_format json_object: the answer is an object, as far as it goes"""
    choice = target.chat(response_format={"type": "json_object"}, max_tokens=200)["choices"][0]
    text = choice["message"]["content"]
    expect(text.lstrip().startswith("{"), f"it begins {text[:20]!r}")
    if choice["finish_reason"] == "stop":
        expect(isinstance(json.loads(text), dict), "no object")


def required_tool(target: Target) -> None:
    """tool_choice required: a call with arguments that keep to the schema"""
    choice = target.chat(tools=[TOOL], tool_choice="required", max_tokens=200)["choices"][0]
    _called(choice["message"]["tool_calls"])


def named_tool(target: Target) -> None:
    """a named function is the one that is called"""
    named = {"type": "function", "function": {"name": "paint"}}
    choice = target.chat(tools=[TOOL], tool_choice=named, max_tokens=200)["choices"][0]
    _called(choice["message"]["tool_calls"])


def streamed_tool(target: Target) -> None:
    """a call in a stream: id and name first, arguments to be joined by index"""
    chunks = target.chat_stream(tools=[TOOL], tool_choice="required", max_tokens=200).chunks
    calls: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for piece in chunk["choices"][0]["delta"].get("tool_calls") or [] if chunk["choices"] else []:
            call = calls.setdefault(piece["index"], {"function": {"name": "", "arguments": ""}})
            call["id"] = piece.get("id") or call.get("id")
            for name in ("name", "arguments"):
                call["function"][name] += piece["function"].get(name) or ""
    _called(list(calls.values()))


def tools_without_a_call(target: Target) -> None:
    """tools with tool_choice auto and none are taken"""
    for choice in ("auto", "none"):
        target.chat(tools=[TOOL], tool_choice=choice)


def tool_turns(target: Target) -> None:
    """earlier calls and their results are taken"""
    target.chat(messages=TURNS, tools=[TOOL])


def embeds(target: Target) -> None:
    """/v1/embeddings: a vector of numbers, usage"""
    found = target.asked("/v1/embeddings", {"input": "the sea"})
    vector = found["data"][0]["embedding"]
    expect(found["object"] == "list" and found["data"][0]["index"] == 0, "the shape")
    expect(vector and all(math.isfinite(x) for x in vector), "no finite numbers")
    expect(found["usage"]["prompt_tokens"] > 0, "no usage")


def embeds_as_bytes(target: Target) -> None:
    """encoding_format base64 (openai's default) is the same vector"""
    body = {"input": "the sea"}
    plain = target.asked("/v1/embeddings", body)["data"][0]["embedding"]
    packed = base64.b64decode(
        target.asked("/v1/embeddings", body | {"encoding_format": "base64"})["data"][0]["embedding"]
    )
    values = struct.unpack(f"<{len(packed) // 4}f", packed)
    expect(len(values) == len(plain), f"{len(values)} numbers, not {len(plain)}")
    expect(all(abs(a - b) < 1e-5 for a, b in zip(values, plain, strict=True)), "other numbers")


def embeds_many(target: Target) -> None:
    """a list of inputs: one vector each, as alone"""
    both = target.asked("/v1/embeddings", {"input": ["the sea", "a much longer text about the land"]})["data"]
    alone = target.asked("/v1/embeddings", {"input": "the sea"})["data"][0]["embedding"]
    expect([one["index"] for one in both] == [0, 1], "the order")
    expect(all(abs(a - b) < 1e-3 for a, b in zip(both[0]["embedding"], alone, strict=True)), "another vector")


def responds(target: Target) -> None:
    """/v1/responses: output with a message of output_text"""
    found = target.asked("/v1/responses", {"input": "Hello.", "max_output_tokens": 16})
    expect(found["object"] == "response" and found["status"] in ("completed", "incomplete"), f"{found['status']}")
    part = found["output"][-1]["content"][0]
    expect(part["type"] == "output_text" and isinstance(part["text"], str), "no output_text")
    expect(found["usage"]["total_tokens"] > 0, "no usage")


def responds_to_items(target: Target) -> None:
    """input as items, and instructions"""
    items = [{"role": "user", "content": [{"type": "input_text", "text": "Hello."}]}]
    target.asked("/v1/responses", {"input": items, "instructions": "Be brief.", "max_output_tokens": 16})


def responds_in_events(target: Target) -> None:
    """its stream: created, deltas that make the text, completed, numbered"""
    told = target.stream("/v1/responses", {"input": "Hello.", "max_output_tokens": 16, "temperature": 0})
    events = told.chunks
    kinds = [event["type"] for event in events]
    expect(kinds[0] == "response.created", f"it begins with {kinds[0]}")
    expect(kinds[-1] in ("response.completed", "response.incomplete"), f"it ends with {kinds[-1]}")
    expect([event["sequence_number"] for event in events] == list(range(len(events))), "numbers are missing")
    text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    expect(text == events[-1]["response"]["output"][-1]["content"][0]["text"], "the deltas are not the text")


def tokenizes(target: Target) -> None:
    """/tokenize and /detokenize are each other's inverse"""
    found = target.asked("/tokenize", {"prompt": "the sea 海", "add_special_tokens": False})
    expect(found["count"] == len(found["tokens"]), "count is another number")
    back = target.asked("/detokenize", {"tokens": found["tokens"]})
    expect(back["prompt"] == "the sea 海", f"{back['prompt']!r}")


def tokenizes_messages(target: Target) -> None:
    """/tokenize of messages counts what chat counts"""
    count = target.asked("/tokenize", {"messages": MESSAGES})["count"]
    expect(count == target.chat(max_tokens=1)["usage"]["prompt_tokens"], f"{count}")


def tells_its_tokenizer(target: Target) -> None:
    """/tokenizer_info has eos_token and chat_template (lm-eval)"""
    response = target.get(f"/tokenizer_info?model={target.model}")
    if response.status_code == 404:
        raise Absent("no /tokenizer_info")
    found = response.json()
    expect("eos_token" in found and "chat_template" in found, f"{list(found)[:6]}")


def refuses_a_bad_embedding(target: Target) -> None:
    """/v1/embeddings of nothing is 400"""
    response = target.post("/v1/embeddings", {"model": target.model, "input": []})
    if response.status_code == 404:
        raise Absent("no /v1/embeddings")
    refusal(response, 400, 422, field="input")


def _painted(text: str) -> None:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    expect(isinstance(value, dict) and value.get("colour") in ("red", "blue"), f"{text[:60]!r}")


def _called(calls: list[dict[str, Any]]) -> None:
    expect(len(calls) == 1, f"{len(calls)} calls")
    expect(isinstance(calls[0]["id"], str) and calls[0]["id"], "no id")
    expect(calls[0]["function"]["name"] == "paint", f"{calls[0]['function']['name']!r}")
    _painted(calls[0]["function"]["arguments"])


GROUP = "more"
MUST: tuple[Check, ...] = ()
MAY: tuple[Check, ...] = (
    json_schema,
    json_object,
    required_tool,
    named_tool,
    streamed_tool,
    tools_without_a_call,
    tool_turns,
    embeds,
    embeds_as_bytes,
    embeds_many,
    refuses_a_bad_embedding,
    responds,
    responds_to_items,
    responds_in_events,
    tokenizes,
    tokenizes_messages,
    tells_its_tokenizer,
)
