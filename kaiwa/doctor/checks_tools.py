"""Tools as agents send them: forced calls, their schemas, their streams, calls that are cut, and results."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from kaiwa.doctor.server import MESSAGES, ServerCheck, ServerUnderTest, StreamedAnswer, expect

WORD = {"enum": ["red", "blue"]}
LIMIT = 300  # tokens
PAINT = {"type": "object", "properties": {"colour": WORD}, "required": ["colour"], "additionalProperties": False}
POINT = {"type": "object", "properties": {"x": {"type": "integer", "minimum": 0, "maximum": 9}}, "required": ["x"]}


def _tool(name: str = "paint", parameters: object = PAINT, **more: object) -> dict[str, Any]:
    function = {"name": name, **more} | ({} if parameters is None else {"parameters": parameters})
    return {"type": "function", "function": function}


def _forced(label: str, tool: dict[str, Any], holds: Callable[[Any], bool]) -> ServerCheck:
    """Return a check that a forced tool is called with arguments for which `holds` is true."""

    def run(server: ServerUnderTest) -> None:
        choice = server.chat(tools=[tool], tool_choice="required", max_tokens=LIMIT)["choices"][0]
        calls = choice["message"].get("tool_calls")
        expect(calls, f"no call, but {str(choice['message']['content'])[:50]!r}")
        arguments = calls[0]["function"]["arguments"]
        expect(isinstance(arguments, str), "arguments are no string")
        expect(holds(json.loads(arguments)), f"{arguments[:60]!r}")

    return ServerCheck(label, run, must=False)


def joined_calls(answer: StreamedAnswer) -> list[dict[str, Any]]:
    """Return the calls of a stream, their parts joined by index."""
    calls: dict[int, dict[str, Any]] = {}
    for chunk in answer.chunks:
        for choice in chunk["choices"]:
            for part in choice["delta"].get("tool_calls") or []:
                call = calls.setdefault(part["index"], {"id": part.get("id"), "name": "", "arguments": ""})
                call["name"] += part["function"].get("name") or ""
                call["arguments"] += part["function"].get("arguments") or ""
    return [calls[index] for index in sorted(calls)]


def check_finish_reason(server: ServerUnderTest) -> None:
    choice = server.chat(tools=[_tool()], tool_choice="required", max_tokens=LIMIT)["choices"][0]
    expect(choice["finish_reason"] in ("tool_calls", "stop"), f"finish_reason {choice['finish_reason']!r}")
    expect(not choice["message"]["content"], f"content {choice['message']['content']!r}")


def check_stream_equals_whole(server: ServerUnderTest) -> None:
    body = {"tools": [_tool()], "tool_choice": "required", "max_tokens": LIMIT, "seed": 3}
    (whole,) = server.chat(**body)["choices"][0]["message"]["tool_calls"]
    (streamed,) = joined_calls(server.chat_stream(**body))
    expect(streamed["arguments"] == whole["function"]["arguments"], f"{streamed['arguments'][:50]!r}")


def check_first_delta(server: ServerUnderTest) -> None:
    answer = server.chat_stream(tools=[_tool()], tool_choice="required", max_tokens=LIMIT)
    parts = [p for chunk in answer.chunks for c in chunk["choices"] for p in c["delta"].get("tool_calls") or []]
    expect(parts[0].get("id") and parts[0]["function"].get("name"), "the first delta has no id or no name")
    expect(not any(p.get("id") or p["function"].get("name") for p in parts[1:]), "id or name come twice")
    expect(all(isinstance(p["function"].get("arguments"), str) for p in parts), "a delta's arguments are no string")


def check_cut_call(server: ServerUnderTest) -> None:
    text = {"type": "object", "properties": {"note": {"type": "string", "minLength": 400}}, "required": ["note"]}
    body = {"tools": [_tool(parameters=text)], "tool_choice": "required", "max_tokens": 60}
    choice = server.chat(**body)["choices"][0]
    expect(choice["finish_reason"] == "length", f"finish_reason {choice['finish_reason']!r}")
    expect(choice["message"].get("tool_calls"), f"no call, but {str(choice['message']['content'])[:40]!r}")
    streamed = server.chat_stream(**body)
    expect(len(joined_calls(streamed)) == 1, "no call in a stream")
    expect(not streamed.text(), f"markup in the content: {streamed.text()[:40]!r}")


def check_one_of_two(server: ServerUnderTest) -> None:
    tools = [_tool(), _tool("wash", None)]
    for name in ("paint", "wash"):
        choice = {"type": "function", "function": {"name": name}}
        (call,) = server.chat(tools=tools, tool_choice=choice, max_tokens=LIMIT)["choices"][0]["message"]["tool_calls"]
        expect(call["function"]["name"] == name, f"{call['function']['name']!r}")


def check_not_parallel(server: ServerUnderTest) -> None:
    body = {"tools": [_tool()], "tool_choice": "required", "parallel_tool_calls": False, "max_tokens": LIMIT}
    expect(len(server.chat(**body)["choices"][0]["message"]["tool_calls"]) == 1, "more than one call")


def check_n_calls(server: ServerUnderTest) -> None:
    answer = server.chat(tools=[_tool()], tool_choice="required", n=2, temperature=1, max_tokens=LIMIT)
    ids = [choice["message"]["tool_calls"][0]["id"] for choice in answer["choices"]]
    expect(len(set(ids)) == 2, "two choices' calls have the same id")


def _talk(call_id: str, result: object, **call: object) -> list[dict[str, Any]]:
    function = {"name": "paint", "arguments": '{"colour": "red"}'}
    turn = {"role": "assistant", "tool_calls": [{"id": call_id, "type": "function", "function": function}], **call}
    return [*MESSAGES, turn, {"role": "tool", "tool_call_id": call_id, "content": result}]


def _check_answered(label: str, messages: list[dict[str, Any]]) -> ServerCheck:
    """Return a check that a conversation with calls and results is answered."""

    def run(server: ServerUnderTest) -> None:
        server.chat(messages=messages, tools=[_tool()])

    return ServerCheck(label, run, must=False)


def check_unknown_choice(server: ServerUnderTest) -> None:
    choice = {"type": "function", "function": {"name": "no_such_tool"}}
    body = {"model": server.model, "messages": MESSAGES, "tools": [_tool()], "tool_choice": choice}
    server.expect_error("/v1/chat/completions", body, 400, 422)


def check_required_without_tools(server: ServerUnderTest) -> None:
    body = {"model": server.model, "messages": MESSAGES, "tool_choice": "required"}
    server.expect_error("/v1/chat/completions", body, 400, 422)


NESTED = {
    "type": "object",
    "properties": {"p": {"$ref": "#/$defs/P"}},
    "required": ["p"],
    "$defs": {"P": POINT},
}
SETS = {
    "type": "object",
    "properties": {"tags": {"type": "array", "items": WORD, "uniqueItems": True, "minItems": 1, "maxItems": 1}},
    "required": ["tags"],
}
GROUP = "tools"
CHECKS = (
    _forced("a tool without parameters is called with {}", _tool("now", None), lambda v: v == {}),
    _forced("parameters {}", _tool("now", {}), lambda v: v == {}),
    _forced(
        "parameters with no properties (MCP)", _tool("now", {"type": "object", "properties": {}}), lambda v: v == {}
    ),
    _forced("only the listed arguments", _tool(parameters=POINT), lambda v: set(v) == {"x"}),
    _forced("$defs in parameters (pydantic)", _tool(parameters=NESTED), lambda v: 0 <= v["p"]["x"] <= 9),
    _forced("uniqueItems in parameters", _tool(parameters=SETS), lambda v: v["tags"][0] in WORD["enum"]),
    _forced("strict: true", _tool(strict=True), lambda v: v["colour"] in WORD["enum"]),
    _forced("strict: true with uniqueItems", _tool(parameters=SETS, strict=True), lambda v: len(v["tags"]) == 1),
    _forced("a name with dots and hyphens", _tool("files.read-all"), lambda v: "colour" in v),
    ServerCheck("a forced call has no content, and ends with tool_calls", check_finish_reason, must=False),
    ServerCheck("a streamed call has the arguments of the whole one", check_stream_equals_whole, must=False),
    ServerCheck("id and name come once, in the first delta", check_first_delta, must=False),
    ServerCheck("a call cut by max_tokens is a call, finish_reason length", check_cut_call, must=False),
    ServerCheck("of two tools the named one", check_one_of_two, must=False),
    ServerCheck("parallel_tool_calls false: one call", check_not_parallel, must=False),
    ServerCheck("n = 2: ids of calls differ", check_n_calls, must=False),
    _check_answered("earlier calls without content (content left out)", _talk("call_1", "done")),
    _check_answered('earlier calls with content ""', _talk("call_1", "done", content="")),
    _check_answered(
        "a result as a list of text parts", _talk("call_1", [{"type": "text", "text": "done"}], content=None)
    ),
    _check_answered("an empty result", _talk("call_1", "", content=None)),
    _check_answered("a long id (other servers' calls)", _talk("call_" + "0" * 40, "done", content=None)),
    ServerCheck("tool_choice names no tool: 400", check_unknown_choice, must=False),
    ServerCheck("tool_choice required without tools: 400", check_required_without_tools, must=False),
)
