"""Function calling: the tools of a request and their description in the prompt (answer_reader.py reads the calls).

A model whose chat template supports tools gets the tools through the template (worker/requests.py). Any other gets a
system text in the widely used form of the Hermes models: each function as JSON Schema within <tools>, a call as

    <tool_call>{"name": …, "arguments": {…}}</tool_call>

and a result as a user's <tool_response>…</tool_response>. tool_choice "required" and a named function go through a
grammar: the answer is a single call's JSON and always parses (unless cut off by max_tokens); a list of calls where
parallel_tool_calls is true.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, Discriminator, Field, Tag, field_validator

from kaiwa.serve.http.bounded_json import JSONObject, plain_json
from kaiwa.serve.openai.chat_turn import CalledTool, ChatTurn

SHORT_ID = 9  # characters
OPEN, CLOSE = "<tool_call>", "</tool_call>"
FunctionName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]

MAX_CALLS = 16  # in an answer that must have calls
NO_PARAMETERS = {"type", "title", "description", "$schema", "required", "additionalProperties"}

INSTRUCTIONS = """You may call functions. Each line within <tools> describes one, its parameters as JSON Schema:
<tools>
{functions}
</tools>
To call a function, answer with its name and arguments as JSON:
<tool_call>
{{"name": "function name", "arguments": {{"parameter": "value"}}}}
</tool_call>
Call a function only when it helps with what the user asks. Its result comes within <tool_response>."""


class Function(BaseModel):
    name: FunctionName
    description: Annotated[str, Field(max_length=1 << 14)] | None = None
    parameters: JSONObject | None = None
    strict: bool | None = None

    _plain = field_validator("parameters")(plain_json)


class ToolDefinition(BaseModel):
    type: Literal["function"]
    function: Function


class OtherTool(BaseModel):
    """A tool that other servers host, such as web_search: left out, and named in the header X-Kaiwa-Ignored."""

    type: Annotated[str, Field(max_length=256)]


def tool_kind(value: object, known: tuple[str, ...] = ("function",), usual: str = "") -> str:
    """Return which model reads a value, by its field "type": a known kind, or "other"."""
    kind = value.get("type", usual) if isinstance(value, dict) else getattr(value, "type", usual)
    return str(kind) if kind in known else "other"


def other_tools(tools: Sequence[BaseModel]) -> list[str]:
    """Return how the header names the tools that are left out."""
    return [f"tools ({kind})" for kind in dict.fromkeys(tool.type for tool in tools if isinstance(tool, OtherTool))]


class NamedFunction(BaseModel):
    name: FunctionName


class NamedTool(BaseModel):
    type: Literal["function"]
    function: NamedFunction


ChatTool = Annotated[
    Annotated[ToolDefinition, Tag("function")] | Annotated[OtherTool, Tag("other")], Discriminator(tool_kind)
]
ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("word")]
    | Annotated[NamedTool, Tag("function")]
    | Annotated[OtherTool, Tag("other")],  # a tool that is left out: as if it were "auto"
    Discriminator(lambda value: "word" if isinstance(value, str) else tool_kind(value)),
]


def describe(tool: ToolDefinition) -> JSONObject:
    """Return a tool in the form for templates and system texts."""
    parameters = tool.function.parameters or {"type": "object", "properties": {}}
    function = {"name": tool.function.name, "description": tool.function.description or "", "parameters": parameters}
    return {"type": "function", "function": function}


def forced_schema(tools: Sequence[ToolDefinition], *, several: bool = False) -> str:
    """Return the JSON Schema of a call to any of the functions, or of several calls, as text.

    Each function's parameters are a definition of their own, with references inside them moved along.
    """
    shapes = [
        {
            "type": "object",
            "properties": {"name": {"const": tool.function.name}, "arguments": {"$ref": f"#/$defs/{i}"}},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for i, tool in enumerate(tools)
    ]
    definitions = {str(i): _moved(_arguments_schema(tool.function), f"#/$defs/{i}") for i, tool in enumerate(tools)}
    schema: JSONObject = {"anyOf": shapes}
    if several:
        schema = {"type": "array", "items": schema, "minItems": 1, "maxItems": MAX_CALLS}
    return json.dumps(schema | {"$defs": definitions}, ensure_ascii=False)


def _arguments_schema(function: Function) -> JSONObject:
    """Return the schema of a function's arguments: an object, and an empty one for a function without parameters."""
    schema = {"type": "object"} | (function.parameters or {})
    return schema if set(schema) - NO_PARAMETERS else schema | {"properties": {}}


def _moved(schema: object, place: str) -> object:
    """Return a schema whose references to itself (#/…) are right when the schema stands at `place`."""
    if isinstance(schema, dict):
        return {
            key: place + value[1:] if key == "$ref" and isinstance(value, str) else _moved(value, place)
            for key, value in schema.items()
            if not (key == "$id" and isinstance(value, str))  # would change what references are relative to
        }
    return [_moved(inner, place) for inner in schema] if isinstance(schema, list) else schema


def as_plain(messages: Sequence[ChatTurn], tools: Sequence[JSONObject]) -> list[ChatTurn]:
    """Return the conversation for a model with three roles and no tools: calls and results become text."""
    turns: list[ChatTurn] = []
    for message in messages:
        role, content = message["role"], message["content"]
        if role == "tool":
            role, content = "user", f"<tool_response>\n{content}\n</tool_response>"
            if turns and turns[-1]["role"] == "user" and turns[-1]["content"].startswith("<tool_response>"):
                turns[-1]["content"] += "\n" + content  # results of one turn's calls are one turn
                continue
        for call in message.get("tool_calls", ()):
            value = {"name": call["function"]["name"], "arguments": _parse_arguments(call["function"]["arguments"])}
            content += ("\n" if content else "") + f"{OPEN}\n{json.dumps(value, ensure_ascii=False)}\n{CLOSE}"
        turns.append({"role": role, "content": content})
    if tools:
        functions = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
        instructions = INSTRUCTIONS.format(functions=functions)
        if turns and turns[0]["role"] == "system":
            turns[0] = {"role": "system", "content": turns[0]["content"] + "\n\n" + instructions}
        else:
            turns.insert(0, {"role": "system", "content": instructions})
    return turns


def with_parsed_arguments(messages: Sequence[ChatTurn], *, short_ids: bool = False) -> list[ChatTurn]:
    """Return messages as Hugging Face templates take them: a call's arguments are an object, not its JSON text.

    short_ids: ids become 9 letters and digits, which is all that Mistral's templates take.
    """
    turns: list[ChatTurn] = []
    for message in messages:
        turn = message.copy()
        if "tool_calls" in turn:
            turn["tool_calls"] = [_with_parsed_arguments(call) for call in turn["tool_calls"]]
        if short_ids and "tool_call_id" in turn:
            turn["tool_call_id"] = _short_id(turn["tool_call_id"])
        if short_ids and "tool_calls" in turn:
            turn["tool_calls"] = [{**call, "id": _short_id(call["id"])} for call in turn["tool_calls"]]
        turns.append(turn)
    return turns


def _short_id(id: str) -> str:
    if len(id) == SHORT_ID and id.isalnum() and id.isascii():
        return id
    return hashlib.sha256(id.encode()).hexdigest()[:SHORT_ID]


def _with_parsed_arguments(call: CalledTool) -> CalledTool:
    function = call["function"]
    return {**call, "function": {"name": function["name"], "arguments": _parse_arguments(function["arguments"])}}


def _parse_arguments(arguments: object) -> object:
    """Return the value of a JSON text, or the argument itself if not a text, not JSON, or too large."""
    if not isinstance(arguments, str):
        return arguments
    try:
        value: object = plain_json(json.loads(arguments))
    except (ValueError, RecursionError):
        return arguments
    return value
